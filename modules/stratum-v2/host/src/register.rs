use crate::connect::Host;
use crate::error::HostError;
use crate::v1::{CliSpec, RegisterApiRequest, RegisterCliRequest, RegisterEndpointRequest};

impl Host {
    /// Adds a JSON-RPC method to the host's front door; its requests come to [`crate::Handler::rpc`]. Errors as
    /// `RpcService.RegisterEndpoint`.
    pub async fn register_endpoint(
        &self,
        method: &str,
        description: &str,
    ) -> Result<(), HostError> {
        let mut client = self.rpc_client();
        let request = RegisterEndpointRequest {
            method: method.to_owned(),
            description: description.to_owned(),
            timeout_ms: 0,
        };
        self.call(request, |request| async move {
            client.register_endpoint(request).await
        })
        .await
        .map(drop)
    }

    /// Describes the module's commands; they come to [`crate::Handler::cli`]. Errors as `RpcService.RegisterCli`.
    pub async fn register_cli(&self, spec: CliSpec) -> Result<(), HostError> {
        let mut client = self.rpc_client();
        let request = RegisterCliRequest { spec: Some(spec) };
        self.call(request, |request| async move {
            client.register_cli(request).await
        })
        .await
        .map(drop)
    }

    /// Offers methods to other modules; calls come to [`crate::Handler::api`]. Errors as `ModuleService.RegisterApi`.
    pub async fn register_api(&self, methods: &[&str], api_version: u32) -> Result<(), HostError> {
        let mut client = self.module_client();
        let request = RegisterApiRequest {
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
            api_version,
            allowed_callers: Vec::new(),
        };
        self.call(request, |request| async move {
            client.register_api(request).await
        })
        .await
        .map(drop)
    }
}
