import Core
import Pipeline

/// The records of a node that shares none with others: in memory, until it ends. Belongs to the control loop.
public struct EmbeddedRecords {
  /// The most records; and the most bytes of their values together.
  static let (mostRecords, mostBytes) = (65_536, 32 << 20)

  private struct Entry {
    var value: [UInt8]
    let endsAt: Instant
  }

  private var entries: [String: Entry] = [:]
  private var bytes = 0
  /// Before this moment none ends of those that were there when room was last looked for.
  private var looksAgainAt = Instant(nanoseconds: 0)

  /// No records.
  public init() {}

  /// How many there are, those that are over among them.
  public var count: Int { entries.count }

  /// Does what a policy wants. Cheap, but for a look at all of them where there is no room.
  public mutating func carryOut(_ request: RecordRequest, now: Instant) -> RecordOutcome {
    let name = "\(request.purpose):\(request.name)"
    if let entry = entries[name], entry.endsAt <= now { remove(name) }
    let present = entries[name]
    switch request.action {
    case .get: return .done(present?.value)
    case .take:
      remove(name)
      return .done(present?.value)
    case .put(let value, let life, let onlyIfAbsent):
      if onlyIfAbsent, present != nil { return .refused }
      // What is not done leaves everything as it was.
      let (former, more) = present.map { ($0.value.count, 0) } ?? (0, 1)
      guard makeRoom(value.count - former, now, more: more) else { return .unavailable }
      remove(name)
      let end = now.advanced(byNanoseconds: life * 1_000_000_000)
      looksAgainAt = min(looksAgainAt, end)
      entries[name] = Entry(value: value, endsAt: end)
      bytes += value.count
      return .done(nil)
    case .swap(let expected, let value):
      guard let present, present.value == expected else { return .refused }
      guard value.count <= expected.count || makeRoom(value.count - expected.count, now, more: 0) else {
        return .unavailable
      }
      entries[name]?.value = value
      bytes += value.count - expected.count
      return .done(nil)
    // Whoever puts something on a shelf needs a cluster for it.
    case .find: return .done(nil)
    }
  }

  private mutating func remove(_ name: String) {
    guard let entry = entries.removeValue(forKey: name) else { return }
    bytes -= entry.value.count
  }

  private mutating func makeRoom(_ count: Int, _ now: Instant, more records: Int) -> Bool {
    func hasRoom() -> Bool { entries.count + records <= Self.mostRecords && bytes + count <= Self.mostBytes }
    if hasRoom() { return true }
    // Before the first of them ends there is nothing to be found.
    guard looksAgainAt <= now else { return false }
    for (name, entry) in entries where entry.endsAt <= now { remove(name) }
    looksAgainAt = entries.values.reduce(.never) { min($0, $1.endsAt) }
    return hasRoom()
  }
}
