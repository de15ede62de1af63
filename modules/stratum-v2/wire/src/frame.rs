//! Frames of the sub-protocols that this module speaks, in and out.

use stratum_core::binary_sv2::GetSize;
use stratum_core::codec_sv2::MessageFrame;
use stratum_core::extensions_sv2::{RequestExtensionsErrorOwned, RequestExtensionsOwned};
use stratum_core::framing_sv2::header::Header;
use stratum_core::parsers_sv2::{
    AnyMessageOwned, CommonMessageTypes, CommonMessages, CommonMessagesOwned, Extensions,
    ExtensionsNegotiationOwned, ExtensionsOwned, IsSv2Message, JobDeclarationTypes, Mining,
    MiningOwned, MiningTypes, TemplateDistribution, TemplateDistributionOwned,
    TemplateDistributionTypes,
};

use crate::CloseReason;

/// Messages 0x0000 of extension type 0x0001 negotiate extensions; all else of that field is some extension's own.
const NEGOTIATION: u16 = 0x0001;

/// Message type of SetupConnection.
const SETUP_CONNECTION: u8 = 0x00;

/// Protocol numbers that SetupConnection may carry end here: mining, job declaration, template distribution.
const LAST_PROTOCOL: u8 = 2;

/// A message of a peer, parsed by the reference implementation's parsers.
#[derive(Debug, Clone)]
pub enum Frame {
    /// SetupConnection and the like.
    Common(CommonMessagesOwned),
    /// Mining Protocol.
    Mining(MiningOwned),
    /// Template Distribution Protocol.
    TemplateDistribution(TemplateDistributionOwned),
    /// Negotiation of extensions.
    Extensions(ExtensionsOwned),
    /// A SetupConnection for a protocol number that does not exist: it deserves its own answer.
    UnknownProtocol(u8),
}

/// Reads a payload as its header says. `Ok(None)`: a frame of an extension that was never agreed on, to be ignored.
pub(crate) fn parse(header: Header, payload: &mut [u8]) -> Result<Option<Frame>, CloseReason> {
    let message_type = header.msg_type();
    match header.ext_type_without_channel_msg() {
        0 => parse_message(message_type, payload).map(Some),
        NEGOTIATION => Extensions::try_from((NEGOTIATION, message_type, payload))
            .map(|message| Some(Frame::Extensions(message.into_owned())))
            .map_err(|_| CloseReason::MalformedFrame),
        _ => Ok(None),
    }
}

fn parse_message(message_type: u8, payload: &mut [u8]) -> Result<Frame, CloseReason> {
    let malformed = |_| CloseReason::MalformedFrame;
    if CommonMessageTypes::try_from(message_type).is_ok() {
        return match payload.first() {
            Some(protocol) if message_type == SETUP_CONNECTION && *protocol > LAST_PROTOCOL => {
                Ok(Frame::UnknownProtocol(*protocol))
            }
            _ => CommonMessages::try_from((message_type, payload))
                .map(|message| Frame::Common(message.into_owned()))
                .map_err(malformed),
        };
    }
    if MiningTypes::try_from(message_type).is_ok() {
        return Mining::try_from((message_type, payload))
            .map(|message| Frame::Mining(message.into_owned()))
            .map_err(malformed);
    }
    if TemplateDistributionTypes::try_from(message_type).is_ok() {
        return TemplateDistribution::try_from((message_type, payload))
            .map(|message| Frame::TemplateDistribution(message.into_owned()))
            .map_err(malformed);
    }
    if JobDeclarationTypes::try_from(message_type).is_ok() {
        return Err(CloseReason::UnexpectedMessage);
    }
    Err(CloseReason::UnknownMessage)
}

/// Bytes that a message takes in the queue.
pub(crate) fn size(message: &AnyMessageOwned) -> usize {
    Header::SIZE + message.get_size()
}

/// The frame of a message; `None` when it is longer than a frame can be.
pub(crate) fn frame(message: AnyMessageOwned) -> Option<MessageFrame<AnyMessageOwned>> {
    let (kind, extension, channel) = (
        message.message_type(),
        message.extension_type(),
        message.channel_bit(),
    );
    MessageFrame::from_message(message, kind, extension, channel).ok()
}

/// The answer to RequestExtensions of a role that supports none: all of them are unsupported, none is required.
pub fn refuse_extensions(request: &RequestExtensionsOwned) -> AnyMessageOwned {
    let error = RequestExtensionsErrorOwned {
        request_id: request.request_id,
        unsupported_extensions: request.requested_extensions.clone(),
        required_extensions: Vec::new().try_into().expect("an empty list fits"),
    };
    AnyMessageOwned::Extensions(ExtensionsOwned::ExtensionsNegotiation(
        ExtensionsNegotiationOwned::RequestExtensionsError(error),
    ))
}
