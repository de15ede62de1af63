//! SetupConnection: the first message of every connection.

use stratum_core::common_messages_sv2::{
    ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL, Protocol, SetupConnectionErrorOwned,
    SetupConnectionOwned, SetupConnectionSuccess,
};
use stratum_core::parsers_sv2::CommonMessagesOwned;
use tokio::time::timeout;

use crate::{CloseReason, Connection, Frame};

/// The only version of Stratum V2 there is.
pub const PROTOCOL_VERSION: u16 = 2;

/// What a role lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetupPolicy {
    pub protocol: Protocol,
    /// Bits of SetupConnection.flags that the role can serve; a peer that asks for another one is refused.
    pub supported_flags: u32,
    /// Flags of SetupConnection.Success.
    pub success_flags: u32,
}

/// What a peer said of itself. All of it is the peer's own word; texts are at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    pub flags: u32,
    pub vendor: String,
    pub hardware_version: String,
    pub firmware: String,
    pub device_id: String,
}

/// Why a SetupConnection is answered with SetupConnection.Error.
struct Refusal {
    code: &'static str,
    flags: u32,
}

impl Connection {
    /// Awaits SetupConnection within [`crate::Limits::setup_timeout`] and answers it, with the specification's error
    /// codes where it does not fit the policy. After an error the caller closes the connection with that reason.
    pub async fn setup(&mut self, policy: SetupPolicy) -> Result<Setup, CloseReason> {
        let patience = self.limits().setup_timeout;
        let first = timeout(patience, self.next())
            .await
            .map_err(|_| CloseReason::SetupTimeout)??;
        let judged = match first {
            Frame::Common(CommonMessagesOwned::SetupConnection(message)) => judge(policy, message),
            Frame::UnknownProtocol(_) => Err(unsupported_protocol()),
            _ => return Err(CloseReason::UnexpectedMessage),
        };
        match judged {
            Ok(setup) => {
                self.send_common(SetupConnectionSuccess {
                    used_version: PROTOCOL_VERSION,
                    flags: policy.success_flags,
                })?;
                Ok(setup)
            }
            Err(Refusal { code, flags }) => {
                let error_code = code
                    .to_string()
                    .try_into()
                    .map_err(|_| CloseReason::Internal)?;
                self.send_common(SetupConnectionErrorOwned { flags, error_code })?;
                Err(CloseReason::SetupRefused)
            }
        }
    }
}

fn unsupported_protocol() -> Refusal {
    Refusal {
        code: ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL,
        flags: 0,
    }
}

fn judge(policy: SetupPolicy, message: SetupConnectionOwned) -> Result<Setup, Refusal> {
    if message.protocol != policy.protocol {
        return Err(unsupported_protocol());
    }
    if message
        .get_version(PROTOCOL_VERSION, PROTOCOL_VERSION)
        .is_none()
    {
        return Err(Refusal {
            code: ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH,
            flags: 0,
        });
    }
    // a peer that sets all flags learns by this which ones are not served
    let unsupported = message.flags & !policy.supported_flags;
    if unsupported != 0 {
        return Err(Refusal {
            code: ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS,
            flags: unsupported,
        });
    }
    Ok(Setup {
        flags: message.flags,
        vendor: message.vendor.as_utf8_or_hex(),
        hardware_version: message.hardware_version.as_utf8_or_hex(),
        firmware: message.firmware.as_utf8_or_hex(),
        device_id: message.device_id.as_utf8_or_hex(),
    })
}
