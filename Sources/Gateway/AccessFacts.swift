import Core
import HTTP
import Pipeline

/// What the access log says about one request, told from where it lies: nothing is copied for the log.
///
/// An empty range and an index of −1 stand for what is not known; such members are left out of the line.
protocol AccessFacts {
  /// What it says of the request's head.
  var texts: AccessTexts { get }
  /// Whether the client speaks TLS to the gateway.
  var isSecure: Bool { get }
  /// What there is to say of that.
  var tls: AccessTLS? { get }
  /// Whether it speaks HTTP/2.
  var isHTTP2: Bool { get }
  /// Whether it speaks HTTP/1.0.
  var isHTTP10: Bool { get }
  /// The final status sent to the client; 0 where it left without one.
  var status: UInt16 { get }
  /// How many upstream attempts were made; 0 where the gateway answered itself.
  var attempts: UInt8 { get }
  /// The code of the gateway's own refusal.
  var refusalCode: StaticString? { get }
  /// The client's address as far as trusted hops vouch for it.
  var address: IPAddress { get }
  /// The name of the decision, which is the request's identifier too.
  var decisionText: HexadecimalText { get }
  /// The trace that the request belongs to; all zero for none.
  var trace: TraceContext { get }
  /// Bytes sent to the client, head and body.
  var sentBytes: Int64 { get }
  /// Index of the route in ``AccessNames/routes``.
  var routeIndex: Int32 { get }
  /// Index of the consumer in ``AccessNames/consumers``.
  var consumerIndex: Int32 { get }
  /// Adds the names of a caller whose key the cluster has made, `"key"`, and `"consumer"` where the configuration does not
  /// know it; or `"subject"` of one who has proved more; and `"tenant"`, where that does not follow from the consumer. At most
  /// 2048 bytes.
  func writeCaller(to line: inout AccessLogLine)
  /// Index of the upstream's address in the table that is given with the facts.
  var endpointIndex: Int32 { get }
  /// How the request's limits were decided.
  var limitDecision: LimitDecision { get }
  /// Who decided them.
  var limitSource: LimitSource { get }
  /// How many limits there are, at most ``LimitQuestion/capacity``.
  var limitCount: Int { get }
  /// How one of them stands. Mutating only so that it is read in place: copying one level copies all.
  mutating func limit(_ index: Int) -> (remaining: Int64, isDenied: Bool)
  /// What policies in shadow have decided.
  var shadows: ShadowVerdicts { get }
  /// Index in ``AccessNames/shadows`` of the name of the route's first policy in shadow.
  var firstShadow: Int32 { get }
  /// Why the policy in shadow with this number would have refused.
  func shadowCode(_ index: Int) -> StaticString
}

/// Where the texts lie that the access log takes over, counted from the front of the request's head.
struct AccessTexts {
  /// The method as the client wrote it.
  var method = ByteRange.empty
  /// The host, with its port if the client named one.
  var host = ByteRange.empty
  /// The path without its query: queries carry keys, tokens and names, and logs are read by many.
  var path = ByteRange.empty
  /// What the client calls itself.
  var userAgent = ByteRange.empty
  /// The identifier that a trusted caller gave the request.
  var requestID = ByteRange.empty
}

/// What is known of a request only when it has ended.
struct AccessSummary {
  /// When the request's first byte was seen.
  var time = WallTime(microseconds: 0)
  /// From the first byte of the request to the last of the response.
  var microseconds: Int64 = 0
  /// From the first byte sent to the upstream to the end of its response; −1 where none was sent.
  var upstreamMicroseconds: Int64 = -1
  /// Bytes received from the client, head and body.
  var receivedBytes: Int64 = 0
  /// Index of the key in ``AccessNames/keys``, below −1 for a caller that
  /// ``AccessFacts/writeCaller(to:)`` names; never a secret.
  var key: Int32 = -1
  /// Index in ``AccessNames/limits`` of the name of the first level that was asked.
  var firstLimit: Int32 = -1
}
