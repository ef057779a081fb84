// What is revoked and which keys there are: a node's own copy, kept up with the log that all nodes share.
//
// The node reads the log itself, when something was published and every 250 ms anyway, and verifies that nothing is missing:
// numbers follow each other, the chain of digests is the one it computes. So it knows at each moment how old its knowledge
// is, without trusting anybody to have told it; `FactClock` carries that to the loops, once it is shown that the primary which
// was asked was not cut off from the others (`FactProof`). What it applied stays applied: facts
// are only ever added, so a log that has lost some is given them back, and never takes any away.
//
//   log        reading, applying, finding the common past after a loss      (+Log)
//   snapshots  for those who are too far behind for the log                 (+Snapshots)
//   asking     adding facts, and waiting until all nodes have them          (+Asking)

import Core
import Crypto
import Pipeline

/// A node's part in knowing facts. It belongs to the control loop.
public final class FactKeeper: AgentPart {
  /// Nanoseconds between two looks at the log.
  static let interval: Int64 = 250_000_000
  /// After a question that failed, before the next.
  static let pause: Int64 = 100_000_000
  /// How long a node that cannot catch up is not ready, in nanoseconds: afterwards it serves, by the rule for stale facts.
  static let grace: Int64 = 10_000_000_000
  /// Between two reports of a position that stays the same: others forget it after a minute.
  private static let reportInterval: Int64 = 10_000_000_000

  /// What the loops go by.
  public private(set) var view = FactView()
  /// When the loops last had everything.
  public let verification: FactClock
  /// Set by the owner: gives a view to all loops, and calls ``taken(_:)`` with the number once they all go by it.
  public var onView: (FactView, _ number: Int) -> Void = { _, _ in }
  /// Set by the owner: has another thread do what takes long, and calls ``done(_:_:)`` with the number and what came of it.
  /// Where it is not set, that is done at once.
  public var onWork: ((_ number: Int, _ work: @escaping @Sendable () -> FactWork) -> Void)?

  let context: AgentContext
  let leadership: Leadership
  let members: Membership
  var revocations = RevocationBook()
  var keys = IssuedKeyBook()
  /// How far this node has applied the log.
  var position = FactPosition.none
  /// How far its loops have.
  public private(set) var applied = FactPosition.none
  var history = FactHistory()
  /// The highest epoch that it has heard of.
  var highestEpoch: Int64 = 0
  /// Whether it knows of an epoch that its position is in.
  var isAligned = false
  /// Whether a question is under way that must be answered before the next.
  var isBusy = false
  var mustLookAgain = false
  var lookAt: Int64 = .max
  /// When it last began an epoch, or tried to.
  var openedAt: Int64 = 0
  var proof = FactProof()
  var snapshots = FactSnapshots()
  var waiters: [FactWaiter] = []
  var positionsAt: Int64 = .max
  /// How far the nodes were when last asked.
  var positionsOfAll: [String: FactPosition] = [:]
  /// What this node has added and has not read from the log yet.
  var unread = UnreadFacts()
  /// What the log has lost: added before anything else.
  var lost = LostFacts()

  private let startedAt: Int64
  private var published = 0
  private var outstanding: [Outstanding] = []
  private var told = FactPosition.none
  private var tellAt: Int64 = .max
  private var isTelling = false
  private var hasCaughtUp = false
  private var works: [Int: (FactWork) -> Void] = [:]
  private var lastWork = 0

  /// A view on its way to the loops.
  private struct Outstanding {
    let number: Int
    var position: FactPosition
    /// When there was nothing beyond it; nil where that is not known.
    var verifiedAt: Int64?
  }

  init(_ context: AgentContext, _ leadership: Leadership, _ members: Membership, _ verification: FactClock) {
    self.verification = verification
    self.context = context
    self.leadership = leadership
    self.members = members
    startedAt = context.clock()
    leadership.observers.append { [weak self] _ in self?.snapshots.isDue = true }
    members.contributors.append { [weak self] record in
      guard let self else { return }
      (record.factsEpoch, record.factsSequence) = (applied.epoch, applied.sequence)
    }
  }

  /// Whether the node may take requests, as far as facts are concerned: it has had everything once, or has waited for it as
  /// long as it is worth it.
  public var isReady: Bool { hasCaughtUp || context.clock() - startedAt >= Self.grace }

  // MARK: Part

  func connected() {
    isAligned = position.epoch != 0 && isAligned
    proof = FactProof()
    lookAt = 0
    tellAt = 0
  }

  func disconnected() {
    lookAt = .max
    tellAt = .max
    positionsAt = .max
  }

  func heard(_ kind: String, _ payload: [UInt8]) {
    guard kind == "facts", context.store.isUp else { return }
    if isBusy { mustLookAgain = true } else { lookAt = 0 }
  }

  func advance(_ moment: Int64) -> Int64 {
    expireWaiters(moment)
    if lookAt <= moment, !isBusy { look(moment) }
    if positionsAt <= moment { askPositions() }
    if tellAt <= moment, !isTelling { tell(moment) }
    advanceSnapshots(moment)
    let wake = hasCaughtUp ? Int64.max : startedAt + Self.grace
    let next = min(isBusy ? .max : lookAt, min(positionsAt, isTelling ? .max : tellAt))
    return min(min(next, snapshots.nextAt), min(wake > moment ? wake : .max, waiters.map(\.deadline).min() ?? .max))
  }

  // MARK: Views

  /// Has the loops go by what is known now.
  func publishView() {
    view = FactView(revocations: revocations.current, keys: keys.current)
    published += 1
    outstanding.append(Outstanding(number: published, position: position, verifiedAt: nil))
    onView(view, published)
    pack()
  }

  /// All loops go by the view of this number.
  public func taken(_ number: Int) {
    while let first = outstanding.first, first.number <= number {
      outstanding.removeFirst()
      adopt(first.position, first.verifiedAt)
    }
  }

  /// The position has moved, and nothing was new on the way.
  func notePosition() {
    if outstanding.isEmpty { adopt(position, nil) } else { outstanding[outstanding.count - 1].position = position }
  }

  /// At this moment there was nothing in the log beyond ``position``.
  func confirm(_ moment: Int64) {
    if outstanding.isEmpty { adopt(position, moment) } else { outstanding[outstanding.count - 1].verifiedAt = moment }
  }

  private func adopt(_ position: FactPosition, _ verifiedAt: Int64?) {
    applied = position
    if let verifiedAt {
      verification.verifiedAt = verifiedAt
      if !hasCaughtUp {
        hasCaughtUp = true
        members.noteNews()
      }
    }
    if applied != told, tellAt != .max { tellAt = 0 }
  }

  /// Has something done that takes long.
  func perform(_ work: @escaping @Sendable () -> FactWork, then: @escaping (FactWork) -> Void) {
    guard let onWork else { return then(work()) }
    lastWork += 1
    works[lastWork] = then
    onWork(lastWork, work)
  }

  /// The work of this number has been done.
  public func done(_ number: Int, _ result: FactWork) { works.removeValue(forKey: number)?(result) }

  /// Packs revocations where there are enough of them, on another thread.
  private func pack() {
    guard let work = revocations.takeWork(now: seconds) else { return }
    perform({ .packed(work.run()) }) { [weak self] done in
      guard let self, case .packed(let result) = done else { return }
      revocations.adopt(result)
      publishView()
    }
  }

  /// Civil time in seconds.
  var seconds: UInt32 { UInt32(clamping: context.world.wallTime.seconds) }

  // MARK: Reports

  /// Says how far the loops are.
  private func tell(_ moment: Int64) {
    tellAt = moment + Self.reportInterval
    guard applied.epoch != 0 else { return }
    isTelling = true
    let position = applied
    context.store.call("fact-at", [context.identity.id, "\(position.epoch)", "\(position.sequence)"]) { [self] reply in
      isTelling = false
      if case .integer = reply { told = position }
      if applied != told, tellAt != .max { tellAt = context.clock() + (reply.number == nil ? Self.pause : 0) }
    }
  }
}

/// What another thread did for a keeper of facts.
public enum FactWork: Sendable {
  /// Revocations are packed.
  case packed(RevocationPacking.Result)
  /// A snapshot is made, ready to be stored.
  case made(FactSnapshot, failure: String?)
  /// A snapshot was read and added to what was known; nil where it is of no use.
  case merged(FactSnapshot.Merger?)
}
