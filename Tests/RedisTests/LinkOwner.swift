import Core

@testable import Cluster

/// What a link said, as plain values.
enum Said: Equatable {
  case up(UInt64)
  case reply(UInt64, String)
  case late(UInt64, String)
  case expired(UInt64)
  case lost(UInt64, mayHaveRun: Bool)
  case message(String)
  case silent
  case responsive
  case down(RedisFault)
  case lookUp(String)

  init(_ event: consuming RedisEvent) {
    switch consume event {
    case .up(let identity): self = .up(identity.epoch)
    case .reply(let tag, let reply, let isLate):
      let text = rendered(reply.value)
      self = isLate ? .late(tag, text) : .reply(tag, text)
    case .expired(let tag): self = .expired(tag)
    case .lost(let tag, let mayHaveRun): self = .lost(tag, mayHaveRun: mayHaveRun)
    case .message(let reply): self = .message(rendered(reply.value))
    case .silent: self = .silent
    case .responsive: self = .responsive
    case .down(let fault): self = .down(fault)
    case .lookUp(let host): self = .lookUp(host)
    }
  }

  /// The tag it is the outcome of; nil for everything else.
  var settledTag: UInt64? {
    switch self {
    case .reply(let tag, _), .expired(let tag), .lost(let tag, _): tag
    default: nil
    }
  }
}

/// A value as text: `+OK`, `:1`, `"abc"`, `-ERR no`, `nil`, `[:1, :2]`.
func rendered(_ value: RedisValue) -> String {
  switch value.kind {
  case .bytes: return "\"\(value.text)\""
  case .status: return "+\(value.text)"
  case .error: return "-\(value.text)"
  case .integer: return ":\(value.integer ?? 0)"
  case .null: return "nil"
  case .array:
    var parts: [String] = []
    for index in 0..<value.count { parts.append(rendered(value[index])) }
    return "[\(parts.joined(separator: ", "))]"
  }
}

/// Owns a link on a loop, real or simulated, and writes down what it says.
final class LinkOwner: EventHandler {
  let link: RedisLink
  let world: any World
  private(set) var said: [Said] = []
  /// Called for everything that is said, behind the writing down.
  var onSaid: ((LinkOwner, Said) -> Void)?
  /// Called at the end of every turn; the owner stops when it says so.
  var isDone: ((LinkOwner) -> Bool)?
  /// When the owner stops although it is not done.
  var limit = Instant.never
  private(set) var isRunning = true

  init(_ world: any World, _ server: RedisServer, _ settings: RedisLinkSettings = RedisLinkSettings(clientName: "test"))
  {
    self.world = world
    link = RedisLink(server, settings, world: world) { 7 << 32 | UInt64($0) }
  }

  /// What was said of tags, up to the outcome of each.
  var outcomes: [Said] { said.filter { $0.settledTag != nil } }
  var ups: [UInt64] {
    said.compactMap { if case .up(let epoch) = $0 { epoch } else { nil } }
  }
  var downs: [RedisFault] {
    said.compactMap { if case .down(let fault) = $0 { fault } else { nil } }
  }

  @discardableResult
  func send(_ tag: UInt64, _ arguments: String..., within: Int64 = RedisLink.decisionTime) -> RedisAdmission {
    link.send(tag: tag, within: within) { RedisCommand.append(arguments, to: $0) }
  }

  func ready(token: UInt64, _ readiness: Readiness) { _ = link.ready(token: token, readiness) }

  func receive(_ message: Never) {}

  /// Makes a handler that has stopped ready for another run.
  func goOn() { isRunning = true }

  func endTurn() -> Instant {
    while let event = link.next() { note(event) }
    if isDone?(self) == true || limit <= world.now { isRunning = false }
    return min(link.flush(), limit)
  }

  private func note(_ event: consuming RedisEvent) {
    let what = Said(event)
    said.append(what)
    onSaid?(self, what)
  }
}
