use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::connect::Host;
use crate::error::HostError;
use crate::retry::Backoff;
use crate::v1::{
    BlockOutcome, BlockTemplate, NewTip, SubmitBlockRequest, WatchBlockTemplateRequest,
    watch_block_template_response::Update,
};

/// Deadline of one submission: nodes check a full block before they answer.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(60);

/// What the node said of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Accepted, rejected, known already, or not decided.
    pub outcome: BlockOutcome,
    /// The node's words; empty unless rejected.
    pub reject_reason: String,
}

/// One piece of news of the template watch.
#[derive(Debug)]
pub enum TemplateNews {
    /// The tip has changed: all older work is stale.
    Tip(NewTip),
    /// A template; it replaces the one before.
    Template(BlockTemplate),
    /// No templates come for now, and why; the watch goes on.
    Waiting(HostError),
}

impl Host {
    /// Hands a found block to the node. Errors as `MiningService.SubmitBlock`; after a passing one the same bytes may be
    /// submitted again.
    pub async fn submit_block(&self, raw: Bytes) -> Result<Verdict, HostError> {
        let mut client = self.mining_client();
        let answer = self
            .call_within(
                SUBMIT_TIMEOUT,
                SubmitBlockRequest { raw },
                |request| async move { client.submit_block(request).await },
            )
            .await?;
        Ok(Verdict {
            outcome: answer.outcome(),
            reject_reason: answer.reject_reason,
        })
    }

    /// Follows tips and templates, over a stream that is opened again whenever it breaks or the node cannot be had.
    ///
    /// `on_news` is called on the task that reads, so that nothing stands between the host's word and it: it must not
    /// wait. Returns when `cancel` fires, with CANCELLED, or when the session is over, with why.
    pub async fn watch_templates(
        &self,
        cancel: &CancellationToken,
        mut on_news: impl FnMut(TemplateNews) + Send,
    ) -> HostError {
        let mut backoff = Backoff::for_streams();
        loop {
            let trouble = tokio::select! {
                () = cancel.cancelled() => return HostError::cancelled(),
                trouble = self.follow(&mut backoff, &mut on_news) => trouble,
            };
            if let Some(error) = &trouble {
                if error.is_session_over() {
                    return error.clone();
                }
                on_news(TemplateNews::Waiting(error.clone()));
            }
            if !backoff.pause(trouble.as_ref(), cancel).await {
                return HostError::cancelled();
            }
        }
    }

    /// One stream from its opening to its end; why it broke, if it did.
    async fn follow(
        &self,
        backoff: &mut Backoff,
        on_news: &mut (impl FnMut(TemplateNews) + Send),
    ) -> Option<HostError> {
        let request = WatchBlockTemplateRequest::default();
        let mut stream = match self.mining_client().watch_block_template(request).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return Some(status.into()),
        };
        loop {
            match stream.message().await {
                Ok(Some(response)) => {
                    backoff.reset();
                    match response.update {
                        Some(Update::NewTip(tip)) => on_news(TemplateNews::Tip(tip)),
                        Some(Update::Template(template)) => {
                            on_news(TemplateNews::Template(template))
                        }
                        // of a newer contract
                        None => {}
                    }
                }
                Ok(None) => return None,
                Err(status) => return Some(status.into()),
            }
        }
    }
}
