import Cluster
import Core
import Pipeline

/// What the control loop keeps in mind about the cluster's revisions.
final class RevisionDesk {
  /// How long a node without a good revision on its disk waits for the store before it serves under its own file, in
  /// nanoseconds; and one with.
  static let grace: Int64 = 3_000_000_000
  static let shortGrace: Int64 = 1_000_000_000

  let keeper: RevisionKeeper
  /// The node's own sections, as of the last reading of its file.
  var own: NodeSections
  /// What the node's own file says in the cluster's place; nil where it says nothing.
  var file: RevisionBody?
  /// When the node serves at the latest.
  let startsAt: Instant
  /// Whether the node's own file is no configuration that it could serve under.
  let isPartial: Bool
  /// Candidates that loops are taking over.
  private var pending: [UInt64: RevisionCandidate] = [:]
  private var serial: UInt64 = 0

  init(_ keeper: RevisionKeeper, own: NodeSections, file: RevisionBody?, isPartial: Bool, startsAt: Instant) {
    (self.keeper, self.own, self.file) = (keeper, own, file)
    (self.isPartial, self.startsAt) = (isPartial, startsAt)
  }

  /// Compiles a revision for this node; otherwise says what is wrong with it.
  func compile(_ body: RevisionBody) -> (blueprint: Blueprint?, fault: String) {
    let (blueprint, diagnostics) = Blueprint.read(own, revision: body.text, secrets: body.resolver)
    return (blueprint, diagnostics.firstError(in: "revision") ?? "")
  }

  /// Loops begin to take `candidate` over; returns the number by which they tell that they have.
  func begin(_ candidate: RevisionCandidate) -> UInt64 {
    serial += 1
    pending[serial] = candidate
    return serial
  }

  /// All loops have taken over what was begun under this number.
  func end(_ serial: UInt64) {
    if let candidate = pending.removeValue(forKey: serial) { keeper.adopted(candidate) }
  }

  /// In how many objects the node's own file differs from `body`; 0 where it says nothing.
  func difference(from body: RevisionBody) -> Int {
    guard let file else { return 0 }
    let (ours, theirs) = (
      PlanObjects(file.text, values: file.values), PlanObjects(body.text, values: body.values)
    )
    return PlanChange.all(from: ours, to: theirs).count
  }
}
