//! Turns conversations into tokens: the prompt that the sample saw, followed by its text as the assistant's turn.

use jury_engine::{Message, Prompt, Role, Span, Tokenizer};
use jury_grm::domain::{Failure, FailureKind};
use jury_grm::prompt;
use jury_proto::convert::{RankRequest, Ranked, Trajectory};
use tokio::sync::oneshot;

use crate::backend::engine::engine_prompt;

/// A trajectory that the engine accepts, or why it does not.
#[derive(Debug)]
pub(in crate::backend) struct Conversation {
    /// Index of the sample.
    pub(in crate::backend) index: u32,
    pub(in crate::backend) tokens: Result<Vec<u32>, Failure>,
}

/// All conversations of a call; `None` when the caller no longer waits for them.
pub(in crate::backend) fn conversations(
    tokenizer: &Tokenizer,
    request: &RankRequest,
    reply: &oneshot::Sender<Vec<Ranked>>,
) -> Option<Vec<Conversation>> {
    let all = each(tokenizer, &request.messages, &request.trajectories);
    all.map(|conversation| (!reply.is_closed()).then_some(conversation)).collect()
}

/// Tokenises each conversation when the iterator reaches it.
pub(in crate::backend) fn each<'a>(
    tokenizer: &'a Tokenizer,
    messages: &[prompt::Message],
    said: &'a [Trajectory],
) -> impl Iterator<Item = Conversation> + 'a {
    let mut conversation: Prompt = engine_prompt(messages);
    said.iter().map(move |said| {
        let spans = vec![Span::untrusted(said.text.as_str())];
        conversation.messages.push(Message { role: Role::Assistant, spans });
        let tokens = tokenizer
            .encode_conversation(&conversation)
            .map_err(|error| Failure { kind: FailureKind::Worker, detail: error.to_string() });
        conversation.messages.pop();
        Conversation { index: said.index, tokens }
    })
}
