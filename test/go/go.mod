module example.com/test-modules

go 1.19

require (
	example.com/reorg-watch-go v0.0.0
	google.golang.org/grpc v1.64.1
	google.golang.org/protobuf v1.33.0
)

require (
	golang.org/x/net v0.26.0 // indirect
	golang.org/x/sys v0.21.0 // indirect
	golang.org/x/text v0.16.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20240318140521-94a12d6c2237 // indirect
)

// the stubs are those that setup makes for the example
replace example.com/reorg-watch-go => ../../conformance/modules/go
