//! Which shares of a channel are acknowledged, and when.

use std::collections::VecDeque;

use stratum_core::mining_sv2::{SubmitSharesErrorOwned, SubmitSharesSuccessOwned};
use stratum_core::parsers_sv2::MiningOwned;
use wire::CloseReason;

/// Error code of a share that met its target and could not be written down. The specification leaves codes open; no miner
/// can mend this one, so it names what happened.
pub const NOT_RECORDED: &str = "share-not-recorded";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Awaited,
    Durable,
    Failed,
}

struct Entry {
    ticket: u64,
    sequence_number: u32,
    work: f64,
    fate: Fate,
}

/// The valid shares of one channel that the miner has had no answer for, oldest first. The bound of the connection's pending
/// shares bounds this too.
#[derive(Default)]
pub(crate) struct Acks {
    entries: VecDeque<Entry>,
    next_ticket: u64,
    /// Work acknowledged over the life of the channel: sums on the wire are whole numbers, and what is cut off one of them
    /// must appear in a later one.
    acknowledged: f64,
}

impl Acks {
    /// A share that is being written down; gives the ticket by which its fate is told.
    pub(crate) fn push(&mut self, sequence_number: u32, work: f64) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.entries.push_back(Entry {
            ticket,
            sequence_number,
            work,
            fate: Fate::Awaited,
        });
        ticket
    }

    /// A share's writing ended.
    pub(crate) fn settle(&mut self, ticket: u64, durable: bool) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.ticket == ticket) {
            entry.fate = if durable { Fate::Durable } else { Fate::Failed };
        }
    }

    /// Answers for all shares whose turn has come, in the order of their submission.
    pub(crate) fn answers(
        &mut self,
        channel_id: u32,
        out: &mut Vec<MiningOwned>,
    ) -> Result<(), CloseReason> {
        let mut batch = Batch::default();
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.fate != Fate::Awaited)
        {
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            if entry.fate == Fate::Durable {
                batch.add(entry.sequence_number, entry.work);
                continue;
            }
            self.flush(channel_id, std::mem::take(&mut batch), out);
            out.push(refusal(channel_id, entry.sequence_number, NOT_RECORDED)?);
        }
        self.flush(channel_id, batch, out);
        Ok(())
    }

    fn flush(&mut self, channel_id: u32, batch: Batch, out: &mut Vec<MiningOwned>) {
        if batch.count == 0 {
            return;
        }
        let before = self.acknowledged;
        self.acknowledged += batch.work;
        out.push(MiningOwned::SubmitSharesSuccess(SubmitSharesSuccessOwned {
            channel_id,
            last_sequence_number: batch.last,
            new_submits_accepted_count: batch.count,
            new_shares_sum: (self.acknowledged.floor() - before.floor()) as u64,
        }));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[derive(Default)]
struct Batch {
    last: u32,
    count: u32,
    work: f64,
}

impl Batch {
    fn add(&mut self, sequence_number: u32, work: f64) {
        self.last = sequence_number;
        self.count += 1;
        self.work += work;
    }
}

/// SubmitShares.Error with this code.
pub(crate) fn refusal(
    channel_id: u32,
    sequence_number: u32,
    code: &'static str,
) -> Result<MiningOwned, CloseReason> {
    let error_code = code
        .to_string()
        .try_into()
        .map_err(|_| CloseReason::Internal)?;
    Ok(MiningOwned::SubmitSharesError(SubmitSharesErrorOwned {
        channel_id,
        sequence_number,
        error_code,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(acks: &mut Acks) -> Vec<String> {
        let mut out = Vec::new();
        acks.answers(7, &mut out).unwrap();
        out.iter()
            .map(|message| match message {
                MiningOwned::SubmitSharesSuccess(ok) => {
                    format!(
                        "ok {} {} {}",
                        ok.last_sequence_number, ok.new_submits_accepted_count, ok.new_shares_sum
                    )
                }
                MiningOwned::SubmitSharesError(error) => {
                    format!(
                        "error {} {}",
                        error.sequence_number,
                        error.error_code.as_utf8_or_hex()
                    )
                }
                other => panic!("{other}"),
            })
            .collect()
    }

    #[test]
    fn acknowledges_in_order_only_what_is_durable() {
        let mut acks = Acks::default();
        let tickets: Vec<u64> = (10..15).map(|sequence| acks.push(sequence, 1.0)).collect();
        acks.settle(tickets[1], true);
        acks.settle(tickets[2], true);
        assert!(answers(&mut acks).is_empty());
        acks.settle(tickets[0], true);
        assert_eq!(answers(&mut acks), ["ok 12 3 3"]);
        acks.settle(tickets[4], true);
        acks.settle(tickets[3], false);
        assert_eq!(
            answers(&mut acks),
            ["error 13 share-not-recorded", "ok 14 1 1"]
        );
        assert_eq!(acks.len(), 0);
    }

    #[test]
    fn loses_no_fraction_of_work() {
        let mut acks = Acks::default();
        let mut sum = 0;
        for sequence in 0..100 {
            let ticket = acks.push(sequence, 0.25);
            acks.settle(ticket, true);
            let mut out = Vec::new();
            acks.answers(1, &mut out).unwrap();
            let Some(MiningOwned::SubmitSharesSuccess(ok)) = out.first() else {
                panic!()
            };
            sum += ok.new_shares_sum;
        }
        assert_eq!(sum, 25);
    }
}
