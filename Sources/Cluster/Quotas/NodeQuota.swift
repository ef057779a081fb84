import Pipeline
import Synchronization

/// What the loops of one node share of a shared quota: the counters that hold while the store is away, and what is known
/// of the other nodes.
public final class NodeQuota: Sendable {
  /// Loops of this node, each of which is a participant of its own.
  let loops: Int
  /// Shares of limits during an outage: all loops draw on them, since a node's share is the node's.
  let shares = CounterStore()
  private let told = Mutex<MemberStanding?>(nil)
  private let lastBeat = Atomic<Int64>(.max)
  private let heardOf = Mutex(Peak())
  private let areBeatsClaimed = Atomic<Bool>(false)
  private let nextName = Atomic<UInt64>(0)

  /// A node of so many loops that has not heard of any other yet.
  public init(loops: Int) {
    self.loops = loops
  }

  /// What another loop is called among all that take part: names of one node differ in their last two bytes only. `random`
  /// becomes the rest of them where this is the node's first.
  func takeName(random: UInt64) -> UInt64 {
    _ = nextName.compareExchange(expected: 0, desired: (random | 1 << 16) & ~0xffff, ordering: .relaxed)
    return nextName.wrappingAdd(1, ordering: .relaxed).newValue
  }

  /// Whether the loop that asks is the one that speaks for the node as a member: the first that asks.
  func claimBeats() -> Bool { !areBeatsClaimed.exchange(true, ordering: .relaxed) }

  /// Where the node stands among the members, as the store last told; nil where it has not.
  var standing: MemberStanding? {
    get { told.withLock { $0 } }
    set { told.withLock { $0 = newValue } }
  }

  /// The node has tried to beat at this moment of the boot clock, whether or not anybody heard.
  func noteBeat(_ moment: Int64) { lastBeat.store(moment, ordering: .relaxed) }

  /// Whether for a life the node did not even try to beat, since it was stopped: others may use what it had.
  func wasStopped(at moment: Int64) -> Bool {
    moment - lastBeat.load(ordering: .relaxed) > MemberBeat.life * 1000
  }

  /// So many loops are alive, says the store at this moment of the boot clock, also while the list of members settles.
  func noteParticipants(_ count: Int, at moment: Int64) { heardOf.withLock { $0.note(count, at: moment) } }

  /// Loops of all live nodes, as far as this one knows: the most that there were in the last lives. A store that has just lost
  /// its list knows of fewer than there are, and must not open its lanes before all have said what they know.
  var participants: Int { max(loops, standing?.participants ?? 0, heardOf.withLock { max($0.recent, $0.former) }) }

  /// The most that was told in the running life, and in the one before.
  private struct Peak {
    var recent = 0
    var former = 0
    var began: Int64 = 0

    mutating func note(_ count: Int, at moment: Int64) {
      if moment - began >= MemberBeat.life * 1000 { (former, recent, began) = (recent, 0, moment) }
      recent = max(recent, count)
    }
  }
}
