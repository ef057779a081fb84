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
  var own: NodeSections { didSet { ownVersion += 1 } }
  private var ownVersion = 0
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
  private var held: [(candidate: RevisionCandidate, blueprint: Blueprint, ownVersion: Int)] = []
  /// The newest revision that was released.
  private var newest: Int64 = 0
  private var isCompiling = false
  /// The newest revision that came while another was being compiled.
  private var waiting: RevisionCandidate?
  /// What the leader has just judged, and will be given to run.
  private var judged: (body: RevisionBody, ownVersion: Int, blueprint: Blueprint)?
  /// Who waits for a judgement, by its number.
  private var judging: [UInt64: (String?) -> Void] = [:]

  init(_ keeper: RevisionKeeper, own: NodeSections, file: RevisionBody?, isPartial: Bool, startsAt: Instant) {
    (self.keeper, self.own, self.file) = (keeper, own, file)
    (self.isPartial, self.startsAt) = (isPartial, startsAt)
  }

  // MARK: Compiling beside the loops

  /// What is to be done for `candidate` now; nil where another revision is being compiled, behind which it waits.
  func beginCompiling(_ candidate: RevisionCandidate) -> RevisionWork? {
    guard !isCompiling else {
      waiting = candidate
      return nil
    }
    isCompiling = true
    return work(candidate)
  }

  private func work(_ candidate: RevisionCandidate) -> RevisionWork {
    var known: Blueprint?
    if let judged, judged.ownVersion == ownVersion, judged.body == candidate.body { known = judged.blueprint }
    judged = nil
    return RevisionWork(candidate: candidate, own: own, ownVersion: ownVersion, known: known)
  }

  /// Something has been compiled: whether it still goes with the node's own sections, and what is to be done next.
  func endCompiling(_ result: CompiledRevision) -> (isCurrent: Bool, next: RevisionWork?) {
    let isCurrent = result.work.ownVersion == ownVersion
    let next = waiting ?? (isCurrent ? nil : result.work.candidate)
    waiting = nil
    isCompiling = next != nil
    return (isCurrent, next.map { work($0) })
  }

  /// What is to be done to find out what is wrong with a configuration; `then` is told it, nil for nothing.
  func beginJudging(_ body: RevisionBody, then: @escaping (String?) -> Void) -> JudgingWork {
    serial += 1
    judging[serial] = then
    return JudgingWork(serial: serial, body: body, own: own, ownVersion: ownVersion)
  }

  /// Somebody has found it out.
  func endJudging(_ result: JudgedBody) {
    judged = result.blueprint.map { (result.work.body, result.work.ownVersion, $0) }
    judging.removeValue(forKey: result.work.serial)?(result.blueprint == nil ? result.fault : nil)
  }

  /// Compiles a revision for this node; otherwise says what is wrong with it.
  func compile(_ body: RevisionBody) -> (blueprint: Blueprint?, fault: String) { Self.compile(body, for: own) }

  fileprivate static func compile(
    _ body: RevisionBody, for own: NodeSections
  ) -> (blueprint: Blueprint?, fault: String) {
    let (blueprint, diagnostics) = Blueprint.read(own, revision: body.text, secrets: body.resolver)
    return (blueprint, diagnostics.firstError(in: "revision") ?? "")
  }

  /// Keeps what `candidate` compiles to until the disk has it.
  func hold(_ blueprint: Blueprint, for candidate: RevisionCandidate) {
    held.append((candidate, blueprint, ownVersion))
  }

  /// What `candidate` compiles to; nil where a later one was faster.
  func release(_ candidate: RevisionCandidate) -> Blueprint? {
    guard let index = held.firstIndex(where: { $0.candidate == candidate }) else { return nil }
    let (_, blueprint, version) = held.remove(at: index)
    let revision = candidate.head.head.revision
    guard revision > max(newest, keeper.running?.head.head.revision ?? 0) else { return nil }
    newest = revision
    // The node's own sections may have been read again meanwhile.
    return version == ownVersion ? blueprint : compile(candidate.body).blueprint ?? blueprint
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

/// What must be done before a node can take a revision over; for a thread that nobody waits for.
struct RevisionWork: Sendable {
  let candidate: RevisionCandidate
  fileprivate let own: NodeSections
  fileprivate let ownVersion: Int
  /// What it compiles to, where that is known.
  fileprivate let known: Blueprint?

  /// Whether it was compiled before, so that ``run()`` costs nothing.
  var isKnown: Bool { known != nil }

  /// Compiles the revision: some 10 µs a route.
  func run() -> CompiledRevision {
    let (blueprint, fault) = known.map { ($0, "") } ?? RevisionDesk.compile(candidate.body, for: own)
    return CompiledRevision(work: self, blueprint: blueprint, fault: fault)
  }
}

/// A configuration that may become a revision; for a thread that nobody waits for.
struct JudgingWork: Sendable {
  fileprivate let serial: UInt64
  fileprivate let body: RevisionBody
  fileprivate let own: NodeSections
  fileprivate let ownVersion: Int

  /// Compiles it.
  func run() -> JudgedBody {
    let (blueprint, fault) = RevisionDesk.compile(body, for: own)
    return JudgedBody(work: self, blueprint: blueprint, fault: fault)
  }
}

/// What came of it.
struct JudgedBody: Sendable {
  fileprivate let work: JudgingWork
  fileprivate let blueprint: Blueprint?
  fileprivate let fault: String
}

/// What came of a revision.
struct CompiledRevision: Sendable {
  let work: RevisionWork
  let blueprint: Blueprint?
  let fault: String
}
