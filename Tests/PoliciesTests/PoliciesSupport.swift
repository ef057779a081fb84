import Cluster
import Core
import Crypto
import HTTP
import Pipeline
import Policies

/// A world in which nothing happens but what a test does to its clocks.
final class StillWorld: World {
  var now = Instant(nanoseconds: 5_000_000_000_000)
  let previousTurnNanoseconds: Int64 = 0
  var wallTime = WallTime(microseconds: 1_790_000_000_000_000)

  func advance(seconds: Double) {
    now.nanoseconds += Int64(seconds * 1_000_000_000)
    wallTime.microseconds += Int64(seconds * 1_000_000)
  }

  func random() -> UInt64 { 4 }
  func listen(_ address: SocketAddress, _ options: ListenOptions, token: UInt64) throws(NetworkError) -> Socket {
    throw .notPermitted
  }
  func localAddress(of socket: Socket) -> SocketAddress? { nil }
  func accept(_ listener: Socket) -> AcceptResult { .wouldBlock }
  func connect(to address: SocketAddress, token: UInt64) throws(NetworkError) -> Socket { throw .notPermitted }
  func connectFailure(_ socket: Socket) -> NetworkError? { .notPermitted }
  func register(_ socket: Socket, token: UInt64) throws(NetworkError) { throw .notPermitted }
  func receive(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult { .wouldBlock }
  func send(_ socket: Socket, _ bytes: RawSpan) -> TransferResult { .wouldBlock }
  func send(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult { .wouldBlock }
  func endSending(_ socket: Socket) {}
  func close(_ socket: Socket, reset: Bool) {}
}

/// Orders of a desk, as the control loop would have them.
final class OpenFetches {
  var orders: [FetchOrder] = []
  /// What the operator is told.
  var reports: [String] = []
  var isFull = false

  func take(_ order: FetchOrder) -> Bool {
    if !isFull { orders.append(order) }
    return !isFull
  }
}

/// Passwords of a desk that wait to be checked.
final class OpenPasswords {
  var orders: [PasswordOrder] = []
  /// What becomes of those that are handed over.
  var intake = PasswordIntake.taken

  func take(_ order: PasswordOrder) -> PasswordIntake {
    if intake == .taken { orders.append(order) }
    return intake
  }
}

/// Records that benches share, as the control loops of their nodes would.
final class TestRecords {
  private var embedded = EmbeddedRecords()
  /// What operators have put there.
  var shelf: [String: [UInt8]] = [:]
  var isDown = false
  /// How many codes of users are said to be taken already.
  var refusals = 0
  /// Called before a request is carried out.
  var before: (RecordRequest) -> Void = { _ in }
  private(set) var requests: [RecordRequest] = []

  func carryOut(_ request: RecordRequest, now: Instant) -> RecordOutcome {
    requests.append(request)
    before(request)
    if isDown { return .unavailable }
    if case .find = request.action { return .done(shelf[request.name]) }
    if case .put = request.action, request.purpose == "oauth-user-code", refusals > 0 {
      refusals -= 1
      return .refused
    }
    return embedded.carryOut(request, now: now)
  }
}

/// Orders of a desk for records that nobody has carried out.
final class OpenRecords {
  var orders: [RecordOrder] = []
}

extension RecordRequest {
  /// What is put, or put in the place of something else.
  var value: [UInt8] {
    switch action {
    case .put(let value, _, _), .swap(_, let value): value
    case .get, .take, .find: []
    }
  }
}

/// What became of a request.
struct Outcome {
  /// `next`, `wait`, or the status.
  var verdict = ""
  /// The code of a refusal.
  var code = ""
  var retryAfter: Int32 = -1
  var requestFields = ""
  var responseFields = ""
  var body = ""
  var query: String?
  var consumer: Int32 = -1
  /// Names of the fields that go on to the upstream, in lower case.
  var passed: [String] = []
}

/// Routes, consumers and limits around the policies that a test makes.
final class Bench {
  let world = StillWorld()
  let store = CounterStore()
  let services: Services
  /// What policies want fetched and nobody has answered.
  let fetches = OpenFetches()
  let desk: FetchDesk
  /// Passwords that nobody has checked.
  let passwords = OpenPasswords()
  let passwordDesk: PasswordDesk
  /// What nodes share beside limits.
  let records: TestRecords
  private let openRecords = OpenRecords()
  private let recordDesk: RecordDesk
  var chain = PolicyChain()
  let request = RequestHead()

  init(
    consumers: [Consumer] = [], quota: (any Quota)? = nil, facts: LoopFacts? = nil, issuers: IssuerBook? = nil,
    secrets: NodeSecrets = NodeSecrets(secret: Array("a cluster's secret".utf8)),
    records: TestRecords = TestRecords()
  ) throws {
    self.records = records
    recordDesk = RecordDesk(world: world) { [openRecords] in
      openRecords.orders.append($0)
      return true
    }
    desk = FetchDesk(world: world) { [fetches] in fetches.take($0) }
    desk.report = { [fetches] in fetches.reports.append($0) }
    passwordDesk = PasswordDesk(world: world) { [passwords] in passwords.take($0) }
    services = Services(
      world: world, quota: quota ?? EmbeddedQuota(store: store, subjectKey: SipKey(low: 1, high: 2)),
      keyRing: try KeyRing(consumers), routes: RouteNames(["orders", "users"]), hasher: SHA256(),
      facts: facts, fetches: desk, issuers: issuers, passwords: passwordDesk, records: recordDesk,
      secrets: secrets)
  }

  /// Whatever `exchange` has waited for has come: a record, or what the store of limits says.
  func goOn(_ exchange: inout Exchange) -> Verdict {
    guard !openRecords.orders.isEmpty else { return chain.resume(&exchange, request, services) }
    let order = openRecords.orders.removeFirst()
    recordDesk.take(records.carryOut(order.request, now: world.now), of: order.number)
    var verdict = Verdict.wait
    while let ticket = recordDesk.nextCalled() {
      if ticket == exchange.ticket { verdict = chain.resume(&exchange, request, services) }
    }
    return verdict
  }

  /// Runs a request through the chain as far as it goes.
  func begin(_ text: String, _ exchange: inout Exchange) -> Verdict {
    let buffer = exchange.head
    buffer.append(utf8: text.replacing("\n", with: "\r\n") + "\r\n\r\n")
    guard case .complete = request.parse(buffer, limits: HeadLimits()) else { preconditionFailure("no request") }
    return chain.run(&exchange, request, services)
  }

  /// Answers the oldest fetch; `exchange` goes on where it has waited for it. Returns its verdict, nil where it has not.
  func answer(_ outcome: FetchOutcome, _ exchange: inout Exchange) -> Verdict? {
    guard !fetches.orders.isEmpty else { return nil }
    desk.take(outcome, of: fetches.orders.removeFirst().number)
    var verdict: Verdict?
    while let ticket = desk.nextCalled() {
      if ticket == exchange.ticket { verdict = chain.resume(&exchange, request, services) }
    }
    return verdict
  }

  /// Checks the oldest password; `exchange` goes on where it has waited for that. Returns its verdict, nil where it has not.
  func check(_ exchange: inout Exchange) -> Verdict? {
    guard !passwords.orders.isEmpty else { return nil }
    let order = passwords.orders.removeFirst()
    passwordDesk.take(order.hash.matches(order.password), of: order.number)
    var verdict: Verdict?
    while let ticket = passwordDesk.nextCalled() {
      if ticket == exchange.ticket { verdict = chain.resume(&exchange, request, services) }
    }
    return verdict
  }

  /// The body has come that a policy has asked for.
  func gather(_ body: String, _ exchange: inout Exchange) -> Verdict {
    exchange.keepGathered()
    exchange.gatheredBody?.append(utf8: body)
    return chain.resume(&exchange, request, services)
  }

  /// Uses these policies; returns what is wrong with them.
  @discardableResult
  func use(_ texts: String...) throws -> [String] {
    var steps: [ChainStep] = []
    var remarks: [String] = []
    for (index, text) in texts.enumerated() {
      let made = make(text, instance: "policy-\(index)")
      remarks += made.remarks
      if let step = made.step { steps.append(step) }
    }
    chain = try Registry.chain(of: steps)
    return remarks
  }

  /// Runs a request through the chain, and ends the exchange unless it is to be kept running.
  func send(
    _ text: String, from client: String = "192.0.2.1", route: Int32 = 0, certificate: TLSPeer? = nil,
    keep exchange: ((Exchange) -> Void)? = nil
  ) -> Outcome {
    let buffer = ByteBuffer()
    buffer.append(utf8: text.replacing("\n", with: "\r\n") + "\r\n\r\n")
    guard case .complete = request.parse(buffer, limits: HeadLimits()) else { return Outcome(verdict: "malformed") }
    var state = Exchange()
    state.client = IPAddress(client) ?? IPAddress(v4: 0)
    state.peer = IPAddress(v4: 0x7f00_0001)
    state.route = route
    state.certificate = certificate
    state.decision = DecisionID(high: 0, low: 0xabc)
    var outcome = Outcome()
    switch chain.run(&state, request, services) {
    case .next: outcome.verdict = "next"
    case .wait: outcome.verdict = "wait"
    case .gather: outcome.verdict = "gather"
    case .reply: outcome.verdict = "\(state.replyStatus)"
    case .refuse(let refusal):
      outcome.verdict = "\(refusal.status)"
      outcome.code = "\(refusal.code)"
      outcome.retryAfter = refusal.retryAfterSeconds
    }
    outcome.requestFields = state.requestFieldsIfAny?.text ?? ""
    outcome.responseFields = state.responseFieldsIfAny?.text ?? ""
    outcome.body = state.replyBodyIfAny?.text ?? ""
    outcome.query = state.changedQuery?.text
    outcome.consumer = state.consumer
    for index in 0..<request.fieldCount where !request.field(index).isDropped {
      outcome.passed.append(Self.text(request.field(index).nameRange, buffer))
    }
    if let exchange { exchange(state) } else { chain.end(&state, services) }
    return outcome
  }

  /// Runs a response through the chain; returns the names of the fields that are passed on.
  func respond(_ text: String) -> [String] {
    let buffer = ByteBuffer()
    buffer.append(utf8: text.replacing("\n", with: "\r\n") + "\r\n\r\n")
    let response = ResponseHead()
    guard case .complete = response.parse(buffer, limits: HeadLimits()) else { return ["malformed"] }
    var state = Exchange()
    chain.respond(&state, response, services)
    var names: [String] = []
    for index in 0..<response.fieldCount where !response.field(index).isDropped {
      names.append(Self.text(response.field(index).nameRange, buffer))
    }
    return names
  }

  private static func text(_ range: ByteRange, _ buffer: ByteBuffer) -> String {
    String(decoding: buffer.array[range.offsets], as: UTF8.self).lowercased()
  }
}

/// Makes a policy from its options; returns what is wrong with them.
func make(_ text: String, instance: String = "test") -> (step: ChainStep?, remarks: [String]) {
  let session = OptionSession(text: Array(text.utf8)) { _ in .failure(SecretFault("there is no such secret")) }
  let outcome = JSONDocument.parse(Array(text.utf8))
  for fault in outcome.faults { session.record(fault) }
  var step: ChainStep?
  if let document = outcome.document {
    var reader = OptionReader(document.root, session: session, instanceName: instance)
    step = Registry.make(type: reader.string("type", "The type."), options: &reader)
    reader.finish()
  }
  return (step, session.diagnostics.map { "\($0.path): \($0.message)" })
}

/// The digest under which `text` is stored.
func digest(_ text: String) -> Digest {
  let bytes = Array(text.utf8)
  return SHA256().digest(of: RawSpan(bytes))
}
