import Core
import Pipeline

/// What became of a change of a shelf.
public enum ShelfAnswer: Equatable, Sendable {
  /// It was made.
  case done
  /// There is one of this name already, or it is not as expected any more.
  case refused
  /// There is no room.
  case full
  /// Nobody knows.
  case unavailable
}

/// Some of what stands on a shelf.
public struct ShelfPage: Equatable, Sendable {
  /// Names and values in no particular order; one may come twice where the shelf changes meanwhile.
  public var items: [(name: String, value: [UInt8])] = []
  /// Where the next page begins; nil behind the last.
  public var cursor: String?

  /// Whether both have the same.
  public static func == (left: ShelfPage, right: ShelfPage) -> Bool {
    left.cursor == right.cursor && left.items.elementsEqual(right.items) { $0 == $1 }
  }
}

/// The records of a cluster, in its store. Belongs to the control loop; every `then` is called exactly once, in a later turn.
///
/// Its keys are `sluice:<cluster>:{cluster}:record:<purpose>:<name>` and the hashes `sluice:<cluster>:{cluster}:shelf:<purpose>`.
public final class RecordKeeper {
  private let store: AgentStore

  init(_ store: AgentStore) { self.store = store }

  // MARK: What policies ask

  /// Does what a policy wants, within ``RecordRequest/timeout``.
  public func carryOut(_ request: RecordRequest, then: @escaping (RecordOutcome) -> Void) {
    let name = Array("\(request.purpose):\(request.name)".utf8)
    switch request.action {
    case .put(let value, let life, let onlyIfAbsent):
      let flag: [UInt8] = [UInt8(ascii: onlyIfAbsent ? "1" : "0")]
      ask("record-put", [name, value, Array("\(life * 1_000)".utf8), flag]) { then(Self.judged($0)) }
    case .get: ask("record-get", [name]) { then(Self.read($0)) }
    case .take: ask("record-take", [name]) { then(Self.read($0)) }
    case .swap(let expected, let value):
      ask("record-swap", [name, expected, value]) { then(Self.judged($0)) }
    case .find:
      ask("shelf-get", [Array(request.purpose.utf8), Array(request.name.utf8)]) { then(Self.read($0)) }
    }
  }

  private func ask(_ verb: String, _ arguments: [[UInt8]], then: @escaping (AgentReply) -> Void) {
    store.call(verb, arguments, within: RecordRequest.timeout, then: then)
  }

  private static func judged(_ reply: AgentReply) -> RecordOutcome {
    switch reply {
    case .integer(1): .done(nil)
    case .integer(0): .refused
    default: .unavailable
    }
  }

  private static func read(_ reply: AgentReply) -> RecordOutcome {
    switch reply {
    case .bytes(let value): .done(value)
    case .null: .done(nil)
    default: .unavailable
    }
  }

  // MARK: What operators ask

  /// Puts something on a shelf on which at most so many things may stand.
  public func add(
    _ value: [UInt8], to shelf: String, as name: String, most: Int, then: @escaping (ShelfAnswer) -> Void
  ) {
    ask("shelf-add", [Array(shelf.utf8), Array(name.utf8), value, Array("\(most)".utf8)]) { then(Self.answer($0)) }
  }

  /// Replaces what is exactly as expected; nil takes it away.
  public func replace(
    _ expected: [UInt8], by value: [UInt8]?, on shelf: String, as name: String, then: @escaping (ShelfAnswer) -> Void
  ) {
    ask("shelf-swap", [Array(shelf.utf8), Array(name.utf8), expected, value ?? []]) { then(Self.answer($0)) }
  }

  /// Reads what stands on a shelf under a name.
  public func find(_ name: String, on shelf: String, then: @escaping (RecordOutcome) -> Void) {
    ask("shelf-get", [Array(shelf.utf8), Array(name.utf8)]) { then(Self.read($0)) }
  }

  /// Some of a shelf from `cursor` on, `0` for the beginning; nil where the store does not answer.
  public func list(_ shelf: String, from cursor: String, then: @escaping (ShelfPage?) -> Void) {
    ask("shelf-list", [Array(shelf.utf8), Array(cursor.utf8)]) { reply in
      guard case .list(let items) = reply, let next = items.first?.text else { return then(nil) }
      var page = ShelfPage()
      for place in stride(from: 1, to: items.count - 1, by: 2) {
        guard let name = items[place].text, let value = items[place + 1].bytes else { continue }
        page.items.append((name, value))
      }
      page.cursor = next == "0" ? nil : next
      then(page)
    }
  }

  private static func answer(_ reply: AgentReply) -> ShelfAnswer {
    switch reply {
    case .integer(1): .done
    case .integer(0): .refused
    case .refused(code: "FULL", _): .full
    default: .unavailable
    }
  }
}
