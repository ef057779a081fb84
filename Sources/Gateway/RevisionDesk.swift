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
  var own: NodeSections { didSet { reading += 1 } }
  private var reading = 0
  /// What the node's own file says in the cluster's place; nil where it says nothing.
  var file: RevisionBody?
  /// When the node serves at the latest.
  let startsAt: Instant
  /// Whether the node's own file is no configuration that it could serve under.
  let isPartial: Bool
  /// Candidates that loops are taking over.
  private var pending: [UInt64: RevisionCandidate] = [:]
  private var serial: UInt64 = 0
  /// What is compiled and not yet on the disk.
  private var held: [(candidate: RevisionCandidate, blueprint: Blueprint, reading: Int)] = []
  /// The newest revision that was released.
  private var newest: Int64 = 0

  init(_ keeper: RevisionKeeper, own: NodeSections, file: RevisionBody?, isPartial: Bool, startsAt: Instant) {
    (self.keeper, self.own, self.file) = (keeper, own, file)
    (self.isPartial, self.startsAt) = (isPartial, startsAt)
  }

  /// Compiles a revision for this node; otherwise says what is wrong with it.
  func compile(_ body: RevisionBody) -> (blueprint: Blueprint?, fault: String) {
    let (blueprint, diagnostics) = Blueprint.read(own, revision: body.text, secrets: body.resolver)
    return (blueprint, diagnostics.firstError(in: "revision") ?? "")
  }

  /// Keeps what `candidate` compiles to until the disk has it.
  func hold(_ blueprint: Blueprint, for candidate: RevisionCandidate) { held.append((candidate, blueprint, reading)) }

  /// What `candidate` compiles to; nil where a later one was faster.
  func release(_ candidate: RevisionCandidate) -> Blueprint? {
    guard let index = held.firstIndex(where: { $0.candidate == candidate }) else { return nil }
    let (_, blueprint, reading) = held.remove(at: index)
    let revision = candidate.head.head.revision
    guard revision > max(newest, keeper.running?.head.head.revision ?? 0) else { return nil }
    newest = revision
    // The node's own sections may have been read again meanwhile.
    return reading == self.reading ? blueprint : compile(candidate.body).blueprint ?? blueprint
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
