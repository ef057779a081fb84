// Who leads. The lease lies in the store, and so does the fence: every script that writes as the leader looks whether the
// lease is still this node's, in this epoch. What happens here only keeps two nodes from both trying for long, and a node that
// was stopped from believing that it still leads: it acts as the leader no longer than it has heard so, less a margin, by a
// clock that goes on while the machine sleeps. Nothing but publishing depends on a leader.

import Core

/// A node's part in electing the leader. It belongs to the control loop.
public final class Leadership: AgentPart {
  /// How long a lease lasts, in nanoseconds.
  public static let lease: Int64 = 3_000_000_000
  /// How often it is renewed, in nanoseconds.
  public static let renewal: Int64 = 1_000_000_000
  /// By how much earlier the leader stops, in nanoseconds, besides what clocks may differ by.
  static let margin: Int64 = 200_000_000
  /// Clocks of two machines run apart by no more than this part: 500 ppm.
  private static let drift: Int64 = 2000
  /// How long a renewal or an election may take, and the pause before the next attempt.
  private static let patience: Int64 = 900_000_000
  private static let pause: Int64 = 200_000_000
  /// Candidates come forward within this time of each other.
  private static let spread: Int64 = 30_000_000

  /// Called with each higher epoch that is seen.
  var onMark: (EpochMark) -> Void = { _ in }
  /// Called after this node became the leader or ceased to be it, and when another node did.
  var observers: [(Leadership) -> Void] = []
  /// The highest epoch that was seen, and whose it was: lower ones are refused.
  public var maxEpochSeen: Int64 { mark.epoch }
  private var mark: EpochMark
  /// Who leads, as far as this node was told.
  private(set) var view = LeaderView()
  /// How often a leader of an epoch that has been outdone was refused.
  public private(set) var refusals: UInt64 = 0

  private let context: AgentContext
  private let leaseTime: Int64
  /// The epoch in which this node leads, and until when it acts.
  private var ownEpoch: Int64?
  private var actsUntil: Int64 = 0
  /// When the present serial was first seen; whoever watched it for a lease need not wait for the store's clock.
  private var watchedSince: Int64 = 0
  /// When this node comes forward, or renews.
  private var electAt: Int64 = .max
  private var renewAt: Int64 = .max
  private var isAsking = false
  /// It goes, or never stands: it does not come forward.
  private var isWithdrawn: Bool

  init(
    _ context: AgentContext, lease: Int64 = Leadership.lease, mark: EpochMark? = nil, isCandidate: Bool = true
  ) {
    self.context = context
    leaseTime = lease
    self.mark = mark ?? .none
    isWithdrawn = !isCandidate
  }

  /// The epoch of the leader; 0 where none is known.
  public var epoch: Int64 { view.epoch }

  /// The leader's id as far as this node was told; empty where there is none.
  public var leader: String { view.owner }

  /// What people call the leader; empty where that is not known.
  public var leaderName: String { view.name }

  /// Whether this node may act as the leader at `moment` of the boot clock: to be asked anew before each act.
  public func isLeader(at moment: Int64) -> Bool { ownEpoch != nil && moment < actsUntil }

  /// The epoch for fenced verbs; nil where this node may not act as the leader at `moment`.
  func fence(at moment: Int64) -> Int64? { isLeader(at: moment) ? ownEpoch : nil }

  /// Gives the lead back and stands for it no more.
  func withdraw() {
    isWithdrawn = true
    electAt = .max
    guard let epoch = ownEpoch else { return }
    stepDown()
    resign(epoch)
  }

  private func resign(_ epoch: Int64) { context.store.call("resign", [context.identity.id, "\(epoch)"]) { _ in } }

  // MARK: Part

  func connected() {
    if ownEpoch != nil { renewAt = 0 } else { stand(at: 0) }
  }

  func disconnected() { (electAt, renewAt) = (.max, .max) }

  func heard(_ kind: String, _ payload: [UInt8]) {
    guard kind == "lead", let told = LeaderView(published: payload), told.isNewer(than: view) else { return }
    note(told)
  }

  func advance(_ moment: Int64) -> Int64 {
    if ownEpoch != nil, moment >= actsUntil {
      stepDown()
      stand(at: moment)
    }
    if !isAsking {
      if ownEpoch != nil, renewAt <= moment { renew(moment) }
      if ownEpoch == nil, electAt <= moment { elect(moment) }
    }
    let next = isAsking ? Int64.max : ownEpoch == nil ? electAt : renewAt
    return min(next, ownEpoch == nil ? .max : actsUntil)
  }

  /// What every sign of life is answered with.
  func told(_ reply: AgentReply?) {
    if let reply, let told = LeaderView(reply) { note(told) }
  }

  // MARK: Asking

  private func elect(_ moment: Int64) {
    isAsking = true
    let hasWatched = moment - watchedSince >= watchTime
    context.store.call(
      "elect",
      [
        context.identity.id, context.identity.name, "\(leaseTime / 1000)", "\(mark.epoch)", mark.owner,
        hasWatched && watchedSince > 0 ? "\(view.epoch) \(view.serial)" : "",
      ], within: Self.patience
    ) { [self] reply in
      isAsking = false
      guard let told = LeaderView(reply) else {
        stand(at: context.clock() + Self.pause)
        return
      }
      if told.owner == context.identity.id {
        // It was elected on its way out.
        if isWithdrawn { return resign(told.epoch) }
        lead(told.epoch, since: moment)
      }
      note(told)
    }
  }

  /// How long a renewal must have been watched without another one until the lease is over for certain.
  private var watchTime: Int64 { leaseTime + leaseTime / Self.drift }

  private func renew(_ moment: Int64) {
    guard let epoch = ownEpoch else { return }
    isAsking = true
    context.store.call(
      "renew", [context.identity.id, "\(epoch)", "\(leaseTime / 1000)"], within: Self.patience
    ) { [self] reply in
      isAsking = false
      guard ownEpoch == epoch else { return }
      if let told = LeaderView(reply) {
        lead(epoch, since: moment)
        note(told)
      } else if case .refused = reply {
        stepDown()
        stand(at: context.clock())
      } else {
        renewAt = context.clock() + Self.pause
      }
    }
  }

  /// The store says that this node leads, to a question of `moment`.
  private func lead(_ epoch: Int64, since moment: Int64) {
    actsUntil = moment + leaseTime - leaseTime / Self.drift - Self.margin
    renewAt = moment + min(Self.renewal, leaseTime / 3)
    electAt = .max
    ownEpoch = epoch
  }

  /// Comes forward at `moment` unless somebody leads by then; where there is no store, once there is.
  private func stand(at moment: Int64) {
    electAt = isWithdrawn || !context.store.isUp ? .max : moment
  }

  private func stepDown() {
    guard ownEpoch != nil else { return }
    (ownEpoch, renewAt) = (nil, .max)
    tell()
  }

  // MARK: Being told

  /// Takes in who leads. An epoch that has been outdone is no leader's: somebody must come forward with a higher one.
  private func note(_ told: LeaderView) {
    let moment = context.clock()
    let isOwn = told.owner == context.identity.id
    if told.epoch < maxEpochSeen || told.epoch == maxEpochSeen && isRival(told.owner) {
      refuse(told)
      stand(at: moment + context.jitter(Self.spread))
      return
    }
    if (told.epoch, told.serial) != (view.epoch, view.serial) || told.owner != view.owner { watchedSince = moment }
    let before = view
    view = told
    if told.name.isEmpty, told.owner == before.owner { (view.name, view.since) = (before.name, before.since) }
    if let seen = EpochMark(epoch: told.epoch, owner: told.owner), seen != mark {
      mark = seen
      onMark(seen)
    }
    if ownEpoch != nil, !isOwn { stepDown() }
    // Its own lead of which it knows nothing: an answer was lost. Others' leads last no longer than they were watched.
    let end = isOwn ? moment : min(moment + told.remaining, watchedSince + watchTime)
    if ownEpoch == nil { stand(at: max(moment, end) + context.jitter(Self.spread)) }
    if told.owner != before.owner || told.epoch != before.epoch { tell() }
  }

  private func isRival(_ owner: String) -> Bool { !owner.isEmpty && !mark.owner.isEmpty && owner != mark.owner }

  private func refuse(_ told: LeaderView) {
    refusals += 1
    if ownEpoch == told.epoch { stepDown() }
    if told.epoch == maxEpochSeen {
      context.remark("two nodes lead in epoch \(told.epoch): a failover has lost a vote; electing anew")
    }
  }

  private func tell() {
    for observer in observers { observer(self) }
  }
}
