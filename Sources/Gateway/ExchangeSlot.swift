import Core
import HTTP
import Pipeline
import Traffic

/// One request and its response, from the first byte of the head to the last byte sent.
///
/// A slot is reused; its buffers keep a little capacity, so that a request on a warm node allocates nothing.
struct ExchangeSlot: SlabSlot {
  enum Stage: UInt8 {
    /// Waiting for the rest of the head.
    case head
    /// Waiting for a free connection to the upstream.
    case pending
    case connecting
    /// The request is being sent; no response yet.
    case request
    /// The response head has been passed on.
    case response
    /// The response has ended at its source; the client has still to take some of it.
    case flushing
    /// A policy waits for something.
    case parked
    /// The body is read for a policy.
    case gathering
  }

  var exchange = Exchange()
  /// The decision's name as the request, the response and the log give it.
  var decisionText = HexadecimalText()
  var stage = Stage.head
  var generation: UInt32 = 0
  var client: Int32 = -1
  var server: Int32 = -1
  /// The configuration this exchange began under and ends under; the flow keeps it as long as it has users.
  private(set) var configuration: Borrowed<LoopConfiguration>?
  /// The route, kept by the configuration.
  var route: Borrowed<RoutePlan>?
  /// The route's series in the metrics.
  var series = Metrics.noRoute
  var hasResponseHooks = false
  var hasEndHooks = false
  /// The upstream's index in the configuration.
  var upstream: Int32 = -1
  /// The upstream, kept by the configuration.
  var group: Borrowed<LoopUpstream>?
  /// The endpoints among which one was chosen, kept by the upstream as long as they have users; and which.
  private(set) var endpoints: Borrowed<EndpointsInUse>?
  var position: Int32 = -1
  /// The endpoint itself, kept by ``endpoints``.
  var endpoint: Borrowed<EndpointState>?
  var tried = TriedEndpoints()
  /// What consistent hashing goes by.
  var hash: UInt64 = 0
  var retries: UInt8 = 0
  /// Whether places in the upstream's bounds have to be given back.
  var holdsRequest = false
  var holdsRetry = false
  var isQueued = false
  /// While parked: fields that must not be sent on.
  var droppedFields: [Int] = []
  /// While the body is gathered: how much of the client's input has been looked at.
  var gatheredInput = 0
  var hasTimedOut = false

  var requestBody = BodyReader()
  var responseBody = BodyReader()
  /// How the client is told where the response ends.
  var responseFraming = BodyFraming.none
  var requestIsChunked = false
  var hasTrailers = false
  var hasResponseTrailers = false
  var serverKeepsAlive = false
  var wantsUpgrade = false
  var clientIsHTTP10 = false
  /// The client's connection is a stream of HTTP/2.
  var isHTTP2 = false
  /// The request is a call of gRPC, and when its caller gives it up.
  var isCall = false
  var callDeadline = Instant.never
  /// Whether the request came from a proxy that is believed.
  var isTrusted = false
  var method = Method.get
  /// How the client's connection is secured; nil where it is not.
  var tls: AccessTLS?
  var timeouts = FlowTimeouts()
  var isRecorded = false
  /// A copy of another exchange: nobody waits for its response.
  var isMirror = false

  // The four ends of a tunnel: what each side has said, and what each side has been told.
  var isTunnel = false
  var clientHasEnded = false
  var serverHasEnded = false
  var endedToServer = false
  var endedToClient = false
  /// Of a tunnel of WebSocket frames.
  var webSocket: WebSocketTunnel?

  /// Bytes of the client that have not been interpreted yet.
  var clientInput = ByteBuffer()
  /// Bytes of the upstream that have not been interpreted yet.
  var serverInput = ByteBuffer()
  /// The request as sent to the upstream; kept from its first byte while it could be sent again.
  var toServer = ByteBuffer()
  var toServerSent = 0
  var isReplayable = true
  /// The upstream takes no more of the request.
  var isCutOff = false
  /// How fast the client sends or takes what is waited for.
  var clientPace = Pace()
  /// Something waits in ``toClient``.
  var waitsForClient = false
  /// In the lists of what is sent at the end of the turn.
  var isPostedToServer = false
  var isPostedToClient = false
  /// Informational responses passed on.
  var informationalCount: UInt8 = 0
  /// What the client has not taken yet.
  var toClient = ByteBuffer()

  var attempts: UInt8 = 0
  var status: UInt16 = 0
  var refusal: Refusal?
  var fault: HTTPFault?
  var captures = RouteCaptures()
  /// What the log says of the request's head.
  var access = AccessTexts()
  var scanned = 0
  var sentToClient: Int64 = 0
  var upstreamStartedAt = Instant.never
  var attemptStartedAt = Instant.never
  var totalDeadline = Instant.never

  init() {}

  /// Storage that a slot keeps between requests; larger buffers are given back.
  static let keptCapacity = 4096

  /// Makes the slot ready for its next request; what the client has sent of it already can stay. What every request sets
  /// before it looks at it (its name, time limits, captures, when an attempt began) is left as it is.
  mutating func reset(keepingInput: Bool = false) {
    if exchange.isSecure { tls = nil }
    exchange.reset()
    if !keepingInput { clientInput.removeAll(keeping: Self.keptCapacity) }
    serverInput.removeAll(keeping: Self.keptCapacity)
    toServer.removeAll(keeping: Self.keptCapacity)
    toClient.removeAll(keeping: Self.keptCapacity)
    generation &+= 1
    configuration?.with { $0.users &-= 1 }
    configuration = nil
    leaveEndpoints()
    route = nil
    group = nil
    series = Metrics.noRoute
    hasResponseHooks = false
    hasEndHooks = false
    resetPlaces()
    resetMessage()
  }

  @inline(__always)
  private mutating func resetPlaces() {
    stage = .head
    client = -1
    server = -1
    upstream = -1
    position = -1
    if tried.count != 0 { tried = TriedEndpoints() }
    hash = 0
    retries = 0
    attempts = 0
    holdsRequest = false
    holdsRetry = false
    isQueued = false
    if !droppedFields.isEmpty { droppedFields = [] }
    hasTimedOut = false
    isReplayable = true
    toServerSent = 0
    isCutOff = false
    clientPace = Pace()
    waitsForClient = false
    isPostedToServer = false
    isPostedToClient = false
    informationalCount = 0
    scanned = 0
    upstreamStartedAt = .never
    totalDeadline = .never
  }

  @inline(__always)
  private mutating func resetMessage() {
    requestBody.begin(.none)
    responseBody.begin(.none)
    responseFraming = .none
    requestIsChunked = false
    hasTrailers = false
    hasResponseTrailers = false
    serverKeepsAlive = false
    wantsUpgrade = false
    clientIsHTTP10 = false
    if isHTTP2 { resetCall() }
    isTrusted = false
    method = .get
    isRecorded = false
    isMirror = false
    status = 0
    refusal = nil
    fault = nil
    access = AccessTexts()
    sentToClient = 0
  }

  private mutating func resetCall() {
    isHTTP2 = false
    isCall = false
    callDeadline = .never
  }

  /// Forgets a tunnel that has ended: most slots never carry one.
  mutating func resetTunnel() {
    isTunnel = false
    clientHasEnded = false
    serverHasEnded = false
    endedToServer = false
    endedToClient = false
    webSocket = nil
  }
}

extension ExchangeSlot {
  /// The exchange goes to one of these endpoints.
  @inline(__always)
  mutating func use(_ endpoints: EndpointsInUse, at position: Int32) {
    leaveEndpoints()
    endpoints.users &+= 1
    self.endpoints = Borrowed(endpoints)
    endpoint = Borrowed(endpoints.set.endpoints[Int(position)].state)
  }

  @inline(__always)
  private mutating func leaveEndpoints() {
    endpoints?.with { $0.users &-= 1 }
    endpoints = nil
    endpoint = nil
  }

  /// From here on the exchange goes by this configuration, until the slot is reset.
  @inline(__always)
  mutating func begin(under configuration: LoopConfiguration) {
    configuration.users &+= 1
    self.configuration = Borrowed(configuration)
  }

  /// Appends the field by which both sides can name this request: what a trusted caller called it, or the decision. It is
  /// mutating only because the compiler copies a whole slot for a call that could not change it.
  @inline(__always)
  mutating func appendRequestID(to buffer: ByteBuffer) {
    guard access.requestID.isEmpty else { return appendGivenRequestID(to: buffer) }
    buffer.write(limit: 48) { writer in
      writer.literal("X-Request-Id: ")
      writer.text(decisionText)
      writer.literal("\r\n")
    }
  }

  private mutating func appendGivenRequestID(to buffer: ByteBuffer) {
    buffer.append("X-Request-Id: ")
    buffer.append(exchange.head.bytes.extracting(access.requestID.offsets))
    buffer.append("\r\n")
  }
}
