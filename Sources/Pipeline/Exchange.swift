import Core
import Crypto
import HTTP

/// One request and whatever becomes of it, as long as it lasts: what policies may know and change.
///
/// It lives in a slot of the loop and is used again and again: ``reset()`` between two exchanges. It is passed `inout`,
/// never copied. Its buffers come into being on first use, since most requests need none of them.
public struct Exchange {
  /// Storage that a buffer may keep from one exchange to the next, in bytes; what is larger is given back.
  public static let keptBytes = 4096

  // MARK: Set by the flow before the chain runs

  /// The decision's name: `X-Request-Id`, and the `instance` of a problem document.
  public var decision = DecisionID(high: 0, low: 0)
  /// The trace that the request belongs to.
  public var trace = TraceContext()
  /// The client's own address, as far as trusted hops vouch for it.
  public var client = IPAddress(high: 0, low: 0)
  /// The address at the other end of the connection.
  public var peer = IPAddress(high: 0, low: 0)
  /// When its first byte was seen.
  public var startedAt = Instant(nanoseconds: 0)
  /// What a parked exchange is called by.
  public var ticket: UInt64 = 0
  /// The listener's index in the blueprint.
  public var listener: Int32 = -1
  /// The route's index in the blueprint; −1 for none.
  public var route: Int32 = -1
  /// Whether the client speaks TLS to the gateway.
  public var isSecure = false
  /// Who the client is by the certificate that it has shown to the gateway; nil for none.
  public var certificate: TLSPeer?

  // MARK: Set by policies

  /// The index in ``KeyRing/consumers``; −1 as long as nobody is identified.
  public var consumer: Int32 = -1
  /// Who sent the request, by something that proves more than a key; nil where nothing does.
  public private(set) var identity: Identity?
  /// Where in the head the token lies that proves ``identity``; nil where it is something else that does.
  public private(set) var token: TokenSpot?
  /// What the policy that says who calls waits for.
  public var awaited = Awaited.nothing
  /// What is answered once it is known how often the caller has failed.
  public var failure: Failure?
  /// When whoever sent the request is known no more: a token ends. Connections that go on end then too.
  public var validUntil = WallTime(microseconds: .max)
  /// What a policy asks the store of limits while ``limits`` holds what was decided before.
  public var parkedQuestion: ParkedQuestion?
  /// Whether a policy in shadow is looking: what it uses is not used up.
  public internal(set) var isShadow = false
  /// What a policy that waits goes on with, in a form of its own; it takes that away again.
  public var carried: AnyObject?
  /// Which of several ways to know the caller waits for something.
  public var alternative: UInt8 = 0
  /// The refusal of those ways for which the request has shown nothing, while another one waits.
  public var heldRefusal: Refusal?
  /// Which of several proofs of a request was found good by a policy that now waits for something else.
  public var proof: UInt8 = 0
  /// The lines `WWW-Authenticate: …` of those who would have identified the caller, and have let nobody pass.
  public private(set) var challenges: [UInt8] = []
  /// The index of the key among the consumer's; −1 for none, ``issuedKeyMark`` for one that the cluster has made.
  public var key: Int32 = -1
  /// The id of a key that the cluster has made; means nothing for others.
  public var issuedKey: UInt64 = 0
  /// The most bytes that the request's body may have; the flow sets the route's own before the chain runs.
  public var bodyLimit: Int64 = .max
  /// The most bytes that a WebSocket message may have.
  public var messageLimit: Int64 = .max
  /// How long an upgraded connection may be silent, in nanoseconds; 0 where the node says.
  public var tunnelIdle: Int64 = 0
  /// The most bytes of the body that a policy wants to see which answers ``Verdict/gather``.
  public var gatherLimit = 0
  /// The limits that apply, and how they were decided.
  public var limits = LimitQuestion()
  /// The call of gRPC-Web that the request is; nil for all others.
  public var webCall: GRPCWebCall?
  /// What the policies that run in shadow have decided.
  public internal(set) var shadows = ShadowVerdicts()
  /// Status of the gateway's own answer after ``Verdict/reply``; its fields are in ``responseFields``, its body in ``replyBody``.
  public var replyStatus: UInt16 = 0

  // MARK: How far the chain is

  /// How many request hooks have had their turn.
  public internal(set) var turnCount: Int32 = 0
  /// How many end hooks have been called.
  var endedCount: Int32 = 0

  // MARK: Buffers

  /// The exchange's own copy of the request head, filled by the flow. Every exchange has one.
  public let head = ByteBuffer()
  private var requestFieldStorage: ByteBuffer?
  @usableFromInline var responseFieldStorage: ByteBuffer?
  private var replyBodyStorage: ByteBuffer?
  private var changedQueryStorage: ByteBuffer?
  private var hasChangedQuery = false
  private var gatheredStorage: ByteBuffer?
  private var isGathered = false
  private var shadowStorage: ShadowRecord?

  /// Whether it is known who calls.
  public var isIdentified: Bool { consumer >= 0 || identity != nil }

  /// What ``key`` is where ``issuedKey`` names it.
  public static let issuedKeyMark: Int32 = -2
  /// What ``key`` is where ``identity`` stands in its place.
  public static let identityMark: Int32 = -3

  /// A slot's first exchange; allocates the head alone.
  public init() {}

  /// Lines `Name: value\r\n` for the upstream request.
  public var requestFields: ByteBuffer {
    @inline(__always) mutating get { Self.buffer(&requestFieldStorage) }
  }

  /// Lines `Name: value\r\n` for whatever response the client gets, the gateway's own ones included.
  @inlinable
  public var responseFields: ByteBuffer {
    @inline(__always) mutating get { Self.buffer(&responseFieldStorage) }
  }

  /// Lets `body` write at most `limit` bytes to ``responseFields``; returns how many. Counts no reference to the buffer.
  @inlinable
  @inline(__always)
  public mutating func appendResponseFields(limit: Int, _ body: (UnsafeMutableRawBufferPointer) -> Int) {
    let buffer: Unmanaged<ByteBuffer>
    if let storage = responseFieldStorage {
      unsafe buffer = .passUnretained(storage)
    } else {
      unsafe buffer = .passUnretained(responseFields)
    }
    // The exchange keeps the buffer, and nothing that `body` can reach replaces it.
    unsafe buffer._withUnsafeGuaranteedRef { unsafe $0.append(limit: limit, body) }
  }

  /// The body of the gateway's own answer after ``Verdict/reply``.
  public var replyBody: ByteBuffer {
    @inline(__always) mutating get { Self.buffer(&replyBodyStorage) }
  }

  /// Appends what ``responseFields`` holds to `target`, another buffer. Counts no reference and never allocates for it.
  @inlinable
  @inline(__always)
  public mutating func copyResponseFields(to target: ByteBuffer) {
    let fields: Unmanaged<ByteBuffer>
    if let storage = responseFieldStorage { unsafe fields = .passUnretained(storage) } else { return }
    // The exchange keeps the buffer while it is copied.
    unsafe fields._withUnsafeGuaranteedRef { target.append($0.bytes) }
  }

  /// ``requestFields`` if any were added; never allocates.
  public var requestFieldsIfAny: ByteBuffer? { Self.filled(requestFieldStorage) }

  /// ``responseFields`` if any were added; never allocates.
  public var responseFieldsIfAny: ByteBuffer? { Self.filled(responseFieldStorage) }

  /// ``replyBody`` if it is not empty; never allocates.
  public var replyBodyIfAny: ByteBuffer? { Self.filled(replyBodyStorage) }

  /// The query to send upstream instead of the request's own, without the question mark (empty: none at all), or nil
  /// where no policy changed it.
  public var changedQuery: ByteBuffer? { hasChangedQuery ? changedQueryStorage : nil }

  /// Replaces the query that is sent upstream: returns an empty buffer to write it into.
  public mutating func changeQuery() -> ByteBuffer {
    let buffer = Self.buffer(&changedQueryStorage)
    buffer.removeAll()
    hasChangedQuery = true
    return buffer
  }

  /// The request's body, without framing; nil where no policy has asked for it. It is sent upstream all the same.
  public var gatheredBody: ByteBuffer? { isGathered ? gatheredStorage : nil }

  /// The body is about to be gathered, or there is none.
  public mutating func keepGathered() {
    if !isGathered { Self.buffer(&gatheredStorage).removeAll() }
    isGathered = true
  }

  /// Notes who sent the request, and the consumer that they stand for; −1 for none, so that one who showed a key stays known
  /// beside the identity. `token` is where the token lies that proves it, if one does.
  public mutating func identify(_ identity: Identity, consumer: Int32, token: TokenSpot? = nil) {
    (self.identity, self.token) = (identity, token)
    if consumer >= 0 { self.consumer = consumer }
    if consumer >= 0 || self.consumer < 0 { key = Self.identityMark }
  }

  /// Notes the line `WWW-Authenticate: …` by which nobody could become somebody, for whoever refuses nobody later.
  public mutating func offer(challenge: [UInt8]) {
    if challenges.isEmpty { challenges = challenge } else { challenges += challenge }
  }

  /// Makes the slot ready for the next exchange: no trace of this one stays, small buffers keep their storage.
  public mutating func reset() {
    decision = DecisionID(high: 0, low: 0)
    trace = TraceContext()
    client = IPAddress(high: 0, low: 0)
    peer = client
    startedAt = Instant(nanoseconds: 0)
    ticket = 0
    listener = -1
    route = -1
    if isSecure { (isSecure, certificate) = (false, nil) }
    consumer = -1
    key = -1
    if identity != nil { (identity, token) = (nil, nil) }
    awaited = .nothing
    if failure != nil { failure = nil }
    validUntil = WallTime(microseconds: .max)
    if heldRefusal != nil { heldRefusal = nil }
    if parkedQuestion != nil { parkedQuestion = nil }
    if carried != nil { carried = nil }
    if !challenges.isEmpty { challenges = [] }
    bodyLimit = .max
    messageLimit = .max
    tunnelIdle = 0
    limits.removeAll()
    if webCall != nil { webCall = nil }
    if !shadows.isEmpty { resetShadows() }
    replyStatus = 0
    turnCount = 0
    endedCount = 0
    hasChangedQuery = false
    if isGathered {
      Self.clear(gatheredStorage)
      isGathered = false
    }
    head.removeAll(keeping: Self.keptBytes)
    Self.clear(requestFieldStorage)
    Self.clear(responseFieldStorage)
    Self.clear(replyBodyStorage)
    Self.clear(changedQueryStorage)
  }

  @inline(never)
  private mutating func resetShadows() {
    shadows = ShadowVerdicts()
    shadowStorage?.reset()
  }

  @inlinable
  @inline(__always)
  static func buffer(_ storage: inout ByteBuffer?) -> ByteBuffer {
    if let buffer = storage { return buffer }
    let buffer = ByteBuffer()
    storage = buffer
    return buffer
  }

  /// Empties a buffer; most are small and keep their storage.
  @inline(__always)
  private static func clear(_ storage: ByteBuffer?) {
    guard let storage else { return }
    storage.removeAll(keeping: keptBytes)
  }

  private static func filled(_ storage: ByteBuffer?) -> ByteBuffer? {
    guard let buffer = storage, !buffer.isEmpty else { return nil }
    return buffer
  }
}

// MARK: - Policies in shadow

extension Exchange {
  /// What a policy in shadow may change and must not.
  struct ShadowMark {
    let (requestFields, responseFields, replyBody): (Int, Int, Int)
    let query: [UInt8]?
    let bodyLimit: Int64
    let replyStatus: UInt16
    let webCall: GRPCWebCall?
    let caller: Caller
  }

  /// Who is known to call.
  struct Caller {
    let (consumer, key): (Int32, Int32)
    let identity: Identity?
    let token: TokenSpot?
    let validUntil: WallTime
  }

  private var caller: Caller {
    Caller(consumer: consumer, key: key, identity: identity, token: token, validUntil: validUntil)
  }

  /// Nobody else is known than before.
  mutating func take(back caller: Caller) {
    (consumer, key, identity, token) = (caller.consumer, caller.key, caller.identity, caller.token)
    validUntil = caller.validUntil
  }

  var shadowRecord: ShadowRecord {
    mutating get {
      if let record = shadowStorage { return record }
      let record = ShadowRecord()
      shadowStorage = record
      return record
    }
  }

  /// Why the policy in shadow with this number, which has refused, would have.
  public func shadowCode(_ index: Int) -> StaticString { shadowStorage?.codes[index] ?? "" }

  /// Remembers what a policy may change.
  func beginShadow() -> ShadowMark {
    ShadowMark(
      requestFields: requestFieldStorage?.count ?? 0, responseFields: responseFieldStorage?.count ?? 0,
      replyBody: replyBodyStorage?.count ?? 0, query: changedQuery?.array, bodyLimit: bodyLimit,
      replyStatus: replyStatus, webCall: webCall, caller: caller)
  }

  /// Takes back what it has changed since.
  mutating func endShadow(_ mark: ShadowMark) {
    requestFieldStorage?.truncate(to: mark.requestFields)
    responseFieldStorage?.truncate(to: mark.responseFields)
    replyBodyStorage?.truncate(to: mark.replyBody)
    hasChangedQuery = mark.query != nil
    if let query = mark.query { changeQuery().append(query) }
    bodyLimit = mark.bodyLimit
    replyStatus = mark.replyStatus
    webCall = mark.webCall
    validUntil = mark.caller.validUntil
    if mark.caller.identity != nil { (identity, token) = (mark.caller.identity, mark.caller.token) }
    guard mark.caller.consumer >= 0 else { return }
    (consumer, key) = (mark.caller.consumer, mark.caller.key)
  }
}

/// The W3C trace that a request belongs to, and the gateway's own span in it.
public struct TraceContext: Equatable, Sendable, BitwiseCopyable {
  /// The first eight bytes of the trace id.
  public var traceHigh: UInt64
  /// The last eight bytes of the trace id.
  public var traceLow: UInt64
  /// The span that the gateway is in this trace.
  public var span: UInt64
  /// Whether the caller records this trace.
  public var isSampled: Bool

  /// A context of these parts; all zero stands for none.
  @inlinable
  public init(traceHigh: UInt64 = 0, traceLow: UInt64 = 0, span: UInt64 = 0, isSampled: Bool = false) {
    self.traceHigh = traceHigh
    self.traceLow = traceLow
    self.span = span
    self.isSampled = isSampled
  }
}
