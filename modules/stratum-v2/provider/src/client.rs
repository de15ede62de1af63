//! What one client was sent, asks and finds.

use std::sync::Arc;

use stratum_core::binary_sv2::B016MOwned;
use stratum_core::parsers_sv2::TemplateDistributionOwned;
use stratum_core::template_distribution_sv2::{
    CoinbaseOutputConstraintsOwned, ERROR_CODE_REQUEST_TRANSACTION_DATA_STALE_TEMPLATE_ID,
    ERROR_CODE_REQUEST_TRANSACTION_DATA_TEMPLATE_ID_NOT_FOUND, NewTemplateOwned,
    RequestTransactionDataErrorOwned, RequestTransactionDataSuccessOwned, SubmitSolutionOwned,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use wire::{CloseReason, Connection};
use work::{Constraints, Lookup, Solution, Template, View};

use crate::serve::Shared;
use crate::solutions::ClientSolution;
use crate::update::{Sent, due};

/// Word for a solution whose header was handed over before.
const DUPLICATE: &str = "duplicate";
/// Word for a solution that nobody could write down.
const NOT_TAKEN: &str = "not-taken";

/// One client after its SetupConnection.
pub(crate) struct Client {
    pub shared: Arc<Shared>,
    pub connection: Connection,
    /// Room for solutions that are being handed over.
    pub pending: Arc<Semaphore>,
    /// What its coinbase outputs need; it is sent nothing before it said so.
    pub constraints: Option<Constraints>,
    /// When a better template that is known already is to be sent.
    pub due: Option<Instant>,
    number: u64,
    sent: Option<Sent>,
}

impl Client {
    pub fn new(
        shared: Arc<Shared>,
        connection: Connection,
        number: u64,
        pending: Arc<Semaphore>,
    ) -> Self {
        Self {
            shared,
            connection,
            pending,
            constraints: None,
            due: None,
            number,
            sent: None,
        }
    }

    /// Takes what the client's coinbase outputs need, and gives it the present work, again if it said so before.
    pub fn constrain(
        &mut self,
        message: &CoinbaseOutputConstraintsOwned,
    ) -> Result<(), CloseReason> {
        let constraints = Constraints {
            output_bytes: message.coinbase_output_max_additional_size,
            sigop_cost: u32::from(message.coinbase_output_max_additional_sigops),
        };
        self.constraints = Some(constraints);
        self.shared
            .registry
            .change(self.number, |client| client.constraints = Some(constraints));
        // a template with too little room must not be mined on any longer
        self.sent = None;
        self.follow()
    }

    /// Sends what the newest work asks for: a new tip at once, a better template when it is due.
    pub fn follow(&mut self) -> Result<(), CloseReason> {
        self.due = None;
        let Some(constraints) = self.constraints else {
            return Ok(());
        };
        // only an empty block too small for the client's outputs is refused: no template could ever satisfy it
        let view = self
            .shared
            .book
            .view(constraints)
            .map_err(|_| CloseReason::UnexpectedMessage)?;
        let Some(view) = view else { return Ok(()) };
        let Some(sent) = self
            .sent
            .as_ref()
            .filter(|sent| sent.tip_number == view.work.tip_number)
        else {
            return self.send_tip(view);
        };
        match due(&self.shared.config, sent, &view.template) {
            Some(at) if at <= Instant::now() => {
                self.send_template(false, &view.template, view.work.tip_number)
            }
            later => {
                self.due = later;
                Ok(())
            }
        }
    }

    /// A template for a tip that the client does not know, and what activates it.
    fn send_tip(&mut self, view: View) -> Result<(), CloseReason> {
        self.send_template(true, &view.template, view.work.tip_number)?;
        self.connection
            .send_template_distribution(TemplateDistributionOwned::SetNewPrevHash(
                view.new_prev_hash,
            ))
    }

    fn send_template(
        &mut self,
        future_template: bool,
        template: &Arc<Template>,
        tip_number: u64,
    ) -> Result<(), CloseReason> {
        let message = NewTemplateOwned {
            future_template,
            ..template.message.clone()
        };
        self.connection
            .send_template_distribution(TemplateDistributionOwned::NewTemplate(message))?;
        self.sent = Some(Sent {
            tip_number,
            template: Arc::clone(template),
            at: Instant::now(),
        });
        self.shared
            .registry
            .change(self.number, |client| client.templates_sent += 1);
        Ok(())
    }

    /// The transactions of a template, or why there are none.
    pub fn send_transactions(&mut self, template_id: u64) -> Result<(), CloseReason> {
        if self.constraints.is_none() {
            return Err(CloseReason::UnexpectedMessage);
        }
        let code = match self.shared.book.lookup(template_id) {
            Lookup::Current(template) => {
                let message = transactions(&template).ok_or(CloseReason::Internal)?;
                self.shared
                    .registry
                    .change(self.number, |client| client.transactions_sent += 1);
                return self.connection.send_template_distribution(
                    TemplateDistributionOwned::RequestTransactionDataSuccess(message),
                );
            }
            Lookup::Stale => ERROR_CODE_REQUEST_TRANSACTION_DATA_STALE_TEMPLATE_ID,
            Lookup::Unknown => ERROR_CODE_REQUEST_TRANSACTION_DATA_TEMPLATE_ID_NOT_FOUND,
        };
        let error_code = code
            .to_string()
            .try_into()
            .map_err(|_| CloseReason::Internal)?;
        self.connection.send_template_distribution(
            TemplateDistributionOwned::RequestTransactionDataError(
                RequestTransactionDataErrorOwned {
                    template_id,
                    error_code,
                },
            ),
        )
    }

    /// Hands a solution over when it is a block and the first of its header. The protocol has no answer. It is taken even
    /// before the client said what its coinbase needs: one that lost its connection may have found a block meanwhile.
    pub fn take_solution(&mut self, message: SubmitSolutionOwned, permit: OwnedSemaphorePermit) {
        let solution = Solution {
            template_id: message.template_id,
            version: message.version,
            header_timestamp: message.header_timestamp,
            header_nonce: message.header_nonce,
            coinbase_tx: message.coinbase_tx.to_owned_bytes(),
        };
        let (shared, client, number) = (self.shared.clone(), self.connection.peer(), self.number);
        let block = match shared.book.solve(&solution) {
            Ok(block) => block,
            Err(error) => return reject(&shared, client, number, error.code()),
        };
        if !shared.handed_over.first(block.hash) {
            return reject(&shared, client, number, DUPLICATE);
        }
        let handing_over = shared.handing_over.clone();
        // a client that leaves does not take its block along
        handing_over.spawn(async move {
            let _permit = permit;
            let hash = block.hash;
            match shared
                .solutions
                .found(ClientSolution {
                    client,
                    solution,
                    block,
                })
                .await
            {
                Ok(()) => shared.registry.change(number, |client| client.blocks += 1),
                Err(_) => {
                    shared.handed_over.forget(hash);
                    reject(&shared, client, number, NOT_TAKEN);
                }
            }
        });
    }
}

fn reject(shared: &Shared, client: std::net::SocketAddr, number: u64, code: &'static str) {
    shared
        .registry
        .change(number, |client| client.rejected += 1);
    shared.solutions.rejected(client, code);
}

/// All transactions of a template, with witnesses. What a block needs beside them, the witness commitment, is among its coinbase
/// outputs already.
fn transactions(template: &Template) -> Option<RequestTransactionDataSuccessOwned> {
    let transactions: Option<Vec<B016MOwned>> = template
        .transactions
        .iter()
        .map(|one| one.raw.to_vec().try_into().ok())
        .collect();
    Some(RequestTransactionDataSuccessOwned {
        template_id: template.id,
        excess_data: Vec::new().try_into().ok()?,
        transaction_list: transactions?.try_into().ok()?,
    })
}
