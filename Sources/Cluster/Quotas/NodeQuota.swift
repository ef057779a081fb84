import Pipeline
import Synchronization

/// What the loops of one node share of a shared quota: the counters that hold while the store is away, and what is known
/// of the other nodes.
public final class NodeQuota: Sendable {
  /// Loops of this node, each of which is a participant of its own.
  let loops: Int
  /// Shares of limits during an outage: all loops draw on them, since a node's share is the node's.
  let shares = CounterStore()
  private let view: Mutex<MemberView>

  /// A node of so many loops that has not heard of any other yet.
  public init(loops: Int) {
    self.loops = loops
    view = Mutex(MemberView(participants: loops))
  }

  /// What is known of all members; see ``MemberView``.
  var members: MemberView {
    get { view.withLock { $0 } }
    set { view.withLock { $0 = newValue } }
  }
}

/// The members of a cluster as the store last told them.
struct MemberView: Equatable, Sendable {
  /// Whether they have told at all, and this node is one of them.
  var isListed = false
  /// Live nodes, and this one's place among them from 0 on.
  var nodes: Int64 = 1
  var rank: Int64 = 0
  /// Loops of all live nodes.
  var participants: Int

  /// This node's share of `limit`; the shares of all nodes sum up to it. 0 for a node that nobody has heard of.
  func share(of limit: Int64) -> Int64 {
    isListed ? limit / nodes + (rank < limit % nodes ? 1 : 0) : 0
  }
}
