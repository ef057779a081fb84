// What former versions of the program have left in the store. Each version loads libraries of its own name, and none takes
// them away: so the leader does, once nobody has named one for a while. Whoever still calls such a library loads it again,
// so that a mistake costs a round trip.

import Core

/// The leader's part in deleting libraries that no member calls. It belongs to the control loop.
final class LibrarySweep: AgentPart {
  /// How often the leader looks, and how long a library must have been nobody's, in nanoseconds.
  var pause: Int64 = 60_000_000_000
  var patience: Int64 = 60_000_000_000
  /// The most that are deleted at a time.
  private static let most = 16

  private let context: AgentContext
  private let leadership: Leadership
  private let members: Membership
  /// The channels of this cluster begin with this.
  private let channels: String
  private var lookAt: Int64 = .max
  /// Since when each library has been nobody's.
  private var idle: [String: Int64] = [:]

  init(_ context: AgentContext, _ leadership: Leadership, _ members: Membership) {
    (self.context, self.leadership, self.members) = (context, leadership, members)
    channels = context.store.prefix.replacing("{cluster}", with: "")
  }

  func connected() { (lookAt, idle) = (context.clock() + pause, [:]) }

  func disconnected() { lookAt = .max }

  func advance(_ moment: Int64) -> Int64 {
    if lookAt <= moment {
      lookAt = moment + pause
      look()
    }
    return lookAt
  }

  /// Whether this is the name of a library of ours: `gwrl_` or `gwcl_`, and at most 16 hexadecimal digits.
  static func isOurs(_ name: String) -> Bool {
    guard name.hasPrefix("gwrl_") || name.hasPrefix("gwcl_") else { return false }
    let digits = name.utf8.dropFirst(5)
    return (1...16).contains(digits.count)
      && digits.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
  }

  private func look() {
    guard leadership.isLeader(at: context.clock()) else { return idle = [:] }
    // Whoever of another cluster works with this store listens there, and may have another version.
    send(["PUBSUB", "CHANNELS", "sluice:*"]) { [self] reply in
      guard case .list(let found) = reply, found.allSatisfy({ $0.text?.hasPrefix(channels) == true }) else {
        return idle = [:]
      }
      members.refresh { [self] isGood in if isGood { list() } }
    }
  }

  private func list() {
    send(["FUNCTION", "LIST", "LIBRARYNAME", "gw?l_*"]) { [self] reply in
      // A store that has none, or a user who may not, is left alone for as long as the connection lasts.
      guard case .list(let found) = reply else { return lookAt = .max }
      sweep(found.compactMap { $0["library_name"]?.text })
    }
  }

  private func sweep(_ names: [String]) {
    let used = Set((members.all.map(\.record) + [members.own]).flatMap(\.libraries))
    let now = context.clock()
    let free = names.filter { Self.isOurs($0) && !used.contains($0) }
    idle = Dictionary(free.map { ($0, idle[$0] ?? now) }) { first, _ in first }
    for (name, since) in idle.sorted(by: { $0.key < $1.key }).prefix(Self.most) where now - since >= patience {
      guard leadership.isLeader(at: now) else { return }
      send(["FUNCTION", "DELETE", name]) { [self] reply in
        if case .refused = reply { return lookAt = .max }
        idle[name] = nil
        guard reply.text == "OK" else { return }
        context.remark("the store had library \(name) of another version: nobody calls it, it is deleted")
      }
    }
  }

  private func send(_ words: [String], then: @escaping (AgentReply) -> Void) {
    context.store.send(words.map { Array($0.utf8) }, then: then)
  }
}
