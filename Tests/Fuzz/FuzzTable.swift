// Whatever parses is fuzzed.
//
// A target is a function that takes any bytes and traps when a promise is broken; it says nothing else. To add one, write
// the function, add a line to the table, and put at least three files into `Corpus/<name>`: what is usual, what is
// refused, and what nearly works. `FuzzTests` runs every file of every corpus in every test run; libFuzzer searches for
// more. What it finds becomes a corpus file in the commit that mends it.
//
//     FUZZ=1 swift build -c release --sanitize fuzzer --scratch-path .build-fuzz --product sluice-fuzz
//     SLUICE_FUZZ=request-head .build-fuzz/release/sluice-fuzz -max_total_time=600 /tmp/found Tests/Fuzz/Corpus/request-head

/// A parser under fuzzing.
public struct FuzzTarget: Sendable {
  /// What the environment variable and the corpus folder call it.
  public let name: String
  /// Takes any bytes; returns unless a promise is broken.
  public let run: @Sendable (RawSpan) -> Void

  /// A target called `name`.
  public init(_ name: String, _ run: @escaping @Sendable (RawSpan) -> Void) {
    self.name = name
    self.run = run
  }
}

/// All parsers under fuzzing.
public enum FuzzTable {
  /// One line a parser.
  public static let targets: [FuzzTarget] = [
    FuzzTarget("request-head", HTTPTargets.requestHead),
    FuzzTarget("response-head", HTTPTargets.responseHead),
    FuzzTarget("chunks", HTTPTargets.chunks),
    FuzzTarget("websocket-frames", WebSocketTargets.frames),
    FuzzTarget("grpc-web", GRPCWebTargets.translation),
    FuzzTarget("grpc-health", GRPCWebTargets.health),
    FuzzTarget("client-hello", TLSTargets.clientHello),
    FuzzTarget("ocsp-response", TLSTargets.ocspResponse),
    FuzzTarget("compact-token", JOSETargets.compactToken),
    FuzzTarget("key-set", JOSETargets.keySet),
    FuzzTarget("proxy-header", HTTPTargets.proxyHeader),
    FuzzTarget("client-address", HTTPTargets.clientAddress),
    FuzzTarget("traceparent", HTTPTargets.traceParent),
    FuzzTarget("field-value", HTTPTargets.fieldValue),
    FuzzTarget("structured-field", StructuredTargets.field),
    FuzzTarget("password-hash", StructuredTargets.passwordHash),
    FuzzTarget("hpack", HTTP2Targets.hpack),
    FuzzTarget("h2-server", HTTP2Targets.server),
    FuzzTarget("h2-client", HTTP2Targets.client),
    FuzzTarget("h2-round-trip", HTTP2Targets.roundTrip),
    FuzzTarget("address", AddressTargets.address),
    FuzzTarget("redis-url", RedisTargets.url),
    FuzzTarget("redis-replies", RedisTargets.replies),
    FuzzTarget("lane-answers", LaneTargets.answers),
    FuzzTarget("fact-record", FactTargets.record),
    FuzzTarget("fact-snapshot", FactTargets.snapshot),
    FuzzTarget("key-text", FactTargets.keyText),
    FuzzTarget("access-rule", RuleTargets.rule),
    FuzzTarget("price-number", PriceTargets.number),
    FuzzTarget("revision-head", AgreementTargets.head),
    FuzzTarget("revision-body", AgreementTargets.body),
    FuzzTarget("revision-proposal", AgreementTargets.proposal),
    FuzzTarget("revision-ack", AgreementTargets.ack),
    FuzzTarget("last-good", AgreementTargets.lastGood),
    FuzzTarget("member-record", AgreementTargets.member),
    FuzzTarget("audit-line", AgreementTargets.auditLine),
    FuzzTarget("percent-text", NameTargets.percentText),
    FuzzTarget("decision", NameTargets.decision),
    FuzzTarget("fetch-url", FetchTargets.url),
    FuzzTarget("fetch-answer", FetchTargets.answer),
    FuzzTarget("issuer-document", FetchTargets.document),
    FuzzTarget("introspection-answer", FetchTargets.introspection),
    FuzzTarget("provider-document", FetchTargets.provider),
    FuzzTarget("token-response", TokenTargets.response),
    FuzzTarget("authorization-request", AuthorizationTargets.request),
    FuzzTarget("registered-client", AuthorizationTargets.registeredClient),
    FuzzTarget("form-text", TokenTargets.form),
    FuzzTarget("json", ConfigurationTargets.json),
    FuzzTarget("configuration", ConfigurationTargets.configuration),
    FuzzTarget("tenant-text", TenantTargets.text),
    FuzzTarget("route-match", TrafficTargets.routeMatch),
  ]

  /// The target called `name`.
  public static func target(_ name: String) -> FuzzTarget? { targets.first { $0.name == name } }
}
