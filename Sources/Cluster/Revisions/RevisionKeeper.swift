// Which configuration is in force: a node's part in keeping all nodes on one revision.
//
// The head in the store names the body. A node that hears of a head (it is published with its bytes; once a second the answer
// to a sign of life tells its number, should that have been lost) verifies it, fetches the body, verifies that, and hands it to
// its owner, who compiles it and refuses it, or has it written to the disk and takes it over. Every node says in the store
// what it does.
//
//   keeper      heads, bodies, acks                        (this file)
//   keeping     the disk                                   (+Keeping)
//   proposals   what somebody wants, on its way            (+Proposals)
//   leading     the leader decides, publishes, goes back   (+Leading)
//   history     what was                                   (+History)
//
// A head that is verified is never left for one with a lower number, whatever the store says: a store that has lost revisions
// is given them back.

import Core

/// A revision that the owner must compile and take over, or refuse.
public struct RevisionCandidate: Equatable, Sendable {
  /// The head, verified.
  public let head: SignedHead
  /// The body, verified and opened.
  public let body: RevisionBody
  let bytes: [UInt8]
}

/// A node's part in keeping all nodes on one configuration. It belongs to the control loop.
public final class RevisionKeeper: AgentPart {
  /// Bytes of a body that are asked for at once: less than one answer can have.
  private static let chunkBytes = 4 << 20
  /// How long a transfer of a body may take, and the pause before the next attempt, in nanoseconds.
  static let patience: Int64 = 5_000_000_000
  static let pause: Int64 = 500_000_000

  /// Set by the owner: what is wrong with a configuration, nil for nothing, told at once or later on the keeper's thread. Asked
  /// by the leader before it publishes.
  public var judge: (_ body: RevisionBody, _ then: @escaping (String?) -> Void) -> Void = { $1(nil) }
  /// Set by the owner: what the first revision of an empty cluster says; nil where the node has nothing to say.
  public var seed: RevisionBody?
  /// Set by the owner before the agent starts: where revisions are kept over a restart; nil for nowhere.
  public var shelf: (any RevisionShelf)?
  /// Set by the owner, if it waits for ``AgentEvent/kept(_:)``: how other threads reach the keeper.
  public var deliver: Delivery?

  /// The newest head that was verified; what the cluster runs, unless it is staged.
  public internal(set) var current: SignedHead?
  /// What this node runs; nil for its own file.
  public private(set) var running: RevisionCandidate?
  /// Whether the node runs what it should, as far as it was told by the store, or knows why not.
  public private(set) var isSettled = false

  let context: AgentContext
  let leadership: Leadership
  let members: Membership
  var leading = Leading()
  var waiters: [String: ProposalWaiter] = [:]
  var filings = RevisionFilings()
  /// The last head that was given to the disk, and the last that was given to the owner and not yet answered.
  var filed: SignedHead?
  private var handed: SignedHead?

  /// The head whose body is wanted, and a number that is another one for every attempt to get it.
  private var target: SignedHead?
  private var attempt = 0
  private var retryAt: Int64 = .max
  private var isAsking = false
  private var mustAsk = false
  private var askAt: Int64 = .max
  /// What has been remarked of already, and must not be again with every second.
  private var lastFault: [UInt8] = []
  /// What this node has to say and the store has not yet heard.
  private var unsaid: Ack?
  private var sayAt: Int64 = .max
  private var isSaying = false
  private var isRestoring = false

  private struct Ack: Equatable {
    let revision: Int64
    let state: RevisionAck.State
    let reason: String
  }

  init(_ context: AgentContext, _ leadership: Leadership, _ members: Membership) {
    (self.context, self.leadership, self.members) = (context, leadership, members)
    members.contributors.append { [weak self] record in
      record.revision = self?.running?.head.head.revision ?? 0
      record.digest = self?.running.map { "\($0.head.name)" } ?? ""
      record.isKept = self?.filings.fault == nil
    }
    members.observers.append { [weak self] in self?.told($0) }
    leadership.observers.append { [weak self] _ in self?.leaderChanged() }
  }

  // MARK: The owner's side

  /// What the disk has, verified, the newest first; what is of no use there is remarked. Before the agent starts.
  public func load() -> [RevisionCandidate] {
    guard let shelf else { return [] }
    let contents = ShelfContents(shelf.load(), context.secrets)
    for (name, fault) in contents.bad { context.remark("the last good file \(name) is of no use: \(fault)") }
    return contents.good.compactMap { good in
      do throws(RevisionFault) {
        return RevisionCandidate(
          head: good.head, body: try RevisionBody(good.body, context.secrets), bytes: good.body)
      } catch {
        context.remark("the last good revision \(good.head.head.revision) is of no use: \(error)")
        return nil
      }
    }
  }

  /// The node begins with this one out of ``load()``.
  public func resume(_ candidate: RevisionCandidate) {
    running = candidate
    current = candidate.head
  }

  /// The node runs `candidate` now, on all its loops.
  public func adopted(_ candidate: RevisionCandidate) {
    // Of two on their way the later one counts.
    if let running, running.head.head.revision > candidate.head.head.revision { return }
    if filed != candidate.head { file(candidate) }
    running = candidate
    settle(.active, candidate.head, remarkOnKeeping)
  }

  /// Whether the owner should still take `candidate` over: it, or a later one behind it, is what the node is to run.
  public func isWanted(_ candidate: RevisionCandidate) -> Bool {
    target.map { $0.head.revision >= candidate.head.head.revision } ?? false
  }

  /// The node cannot run `candidate`, and stays on what it has.
  public func refused(_ candidate: RevisionCandidate, because reason: String) {
    context.remark("revision \(candidate.head.head.revision) is refused: \(reason)")
    settle(.refused, candidate.head, reason)
  }

  /// The cluster signs and seals with another secret from now on: what is in force must be, too.
  public func secretsReplaced() {
    leading.mustReseal = true
    (leading.lookAt, lastFault) = (0, [])
    if context.store.isUp { ask() }
  }

  private func settle(_ state: RevisionAck.State, _ head: SignedHead, _ reason: String) {
    if target == head { target = nil }
    if handed == head { handed = nil }
    isSettled = true
    unsaid = Ack(revision: head.head.revision, state: state, reason: RevisionDraft.cut(reason, to: 500))
    sayAt = 0
    members.noteNews()
  }

  // MARK: Part

  func connected() {
    (askAt, sayAt, retryAt) = (0, unsaid == nil ? .max : 0, target == nil ? .max : 0)
    isRestoring = false
  }

  func disconnected() { (askAt, sayAt, retryAt) = (.max, .max, .max) }

  func heard(_ kind: String, _ payload: [UInt8]) {
    switch kind {
    case "head": note(payload)
    case "proposal": if isLeader { ask() }
    case "outcome": settled(String(decoding: payload, as: UTF8.self))
    case "ack": if let ack = RevisionAck(published: String(decoding: payload, as: UTF8.self)) { noteAck(ack) }
    default: return
    }
  }

  func advance(_ moment: Int64) -> Int64 {
    if askAt <= moment { ask() }
    if retryAt <= moment, let target { fetch(target) }
    if sayAt <= moment { say() }
    let next = min(advanceFilings(moment), min(advanceWaiters(moment), lead(moment)))
    return min(min(askAt, retryAt, isSaying ? .max : sayAt), next)
  }

  /// The answer to a sign of life.
  private func told(_ reply: AgentReply) {
    let known = current?.head.revision ?? 0
    if let revision = reply["head"]?.number, revision != known || revision == 0 { ask() }
    if isLeader, let count = reply["proposals"]?.number, count > 0 { ask() }
  }

  private func leaderChanged() {
    leading = Leading()
    if context.store.isUp { ask() }
  }

  var isLeader: Bool { leadership.isLeader(at: context.clock()) }

  // MARK: Heads

  /// Asks which head is in force, and what is proposed.
  func ask() {
    askAt = .max
    guard !isAsking else { return mustAsk = true }
    isAsking = true
    context.store.call("head", [String]()) { [self] reply in
      isAsking = false
      let items = reply.items
      if items.count == 4, let revision = items[0].number, let bytes = items[2].bytes {
        compare(revision, bytes)
        takeProposal(items[3].bytes ?? [])
      } else {
        askAt = context.store.isUp ? context.clock() + Self.pause : .max
      }
      if mustAsk {
        mustAsk = false
        ask()
      }
    }
  }

  private func compare(_ revision: Int64, _ bytes: [UInt8]) {
    guard revision > 0 else { return meetNothing() }
    if let current, revision < current.head.revision || revision == current.head.revision && bytes != current.bytes {
      return restore(current)
    }
    note(bytes)
    if !isSettled, let current, running?.head == current { settle(.active, current, "") }
  }

  /// Takes in a head that was published or fetched.
  func note(_ bytes: [UInt8]) {
    guard bytes != current?.bytes, bytes != lastFault else { return }
    do throws(RevisionFault) {
      let next = if let own = leading.head(of: bytes) { own } else { try SignedHead(bytes, context.secrets) }
      try next.check(after: current, maxEpoch: current?.head.epoch ?? 0)
      lastFault = []
      pursue(next)
    } catch {
      // A node that is behind in hearing is not worth a word.
      if case .stale = error { return }
      lastFault = bytes
      context.remark("what was published as a revision is not used: \(error)")
    }
  }

  private func pursue(_ next: SignedHead) {
    current = next
    leading.forget()
    attempt += 1
    if next.head.isFor(context.identity.name) { return run(next) }
    // Others have it first: this node runs what was in force before.
    if running == nil || running?.head.head.revision ?? 0 < next.head.base {
      return seek(next.head.base) { [self] base in
        if let base, current == next { run(base) } else { settle(.staged, next, "") }
      }
    }
    target = nil
    settle(.staged, next, "")
  }

  private func run(_ next: SignedHead) {
    if let running, handed == nil, running.head.head.body == next.head.body {
      let same = RevisionCandidate(head: next, body: running.body, bytes: running.bytes)
      return deliver == nil ? adopted(same) : keep(same, isRunning: true)
    }
    fetch(next)
  }

  // MARK: Bodies

  private func fetch(_ next: SignedHead) {
    (target, retryAt) = (next, .max)
    attempt += 1
    let attempt = attempt
    readBody(next.head.body) { [self] outcome in
      guard self.attempt == attempt, target == next else { return }
      switch outcome {
      case .success(let content):
        // Who takes a revision over within the event has none on its way.
        if deliver != nil { handed = next }
        context.emit(.revision(RevisionCandidate(head: next, body: content.body, bytes: content.bytes)))
      case .failure(let fault) where fault != .missing:
        context.remark("revision \(next.head.revision) is not used: \(fault)")
        settle(.refused, next, fault.description)
      case .failure, nil: retryAt = context.store.isUp ? context.clock() + Self.pause : .max
      }
    }
  }

  typealias Content = (body: RevisionBody, bytes: [UInt8])

  /// Fetches, verifies and opens the body of this name; nil where the store cannot be asked now.
  func readBody(_ name: RevisionName, then: @escaping (Result<Content, RevisionFault>?) -> Void) {
    read(name, []) { [self] bytes in
      guard let bytes else { return then(nil) }
      guard !bytes.isEmpty else { return then(.failure(.missing)) }
      do throws(RevisionFault) {
        then(.success((try RevisionBody(bytes, named: name, context.secrets), bytes)))
      } catch { then(.failure(error)) }
    }
  }

  private func read(_ name: RevisionName, _ before: [UInt8], then: @escaping ([UInt8]?) -> Void) {
    let key = Array("\(context.store.prefix):body:\(name)".utf8)
    let range = [before.count, before.count + Self.chunkBytes - 1].map { Array("\($0)".utf8) }
    context.store.send([Array("GETRANGE".utf8), key] + range, within: Self.patience) { [self] reply in
      guard let chunk = reply.bytes else { return then(nil) }
      let bytes = before + chunk
      if chunk.count < Self.chunkBytes || bytes.count > RevisionBody.limit { return then(bytes) }
      read(name, bytes, then: then)
    }
  }

  // MARK: Saying and giving back

  private func say() {
    sayAt = .max
    guard let ack = unsaid, !isSaying else { return }
    isSaying = true
    let words = [context.identity.name, "\(ack.revision)", ack.state.rawValue, ack.reason]
    context.store.call("ack", words) { [self] reply in
      isSaying = false
      if reply.number != nil, unsaid == ack { unsaid = nil }
      if unsaid != nil { sayAt = context.store.isUp ? context.clock() + Self.pause : .max }
    }
  }

  /// The store has no revision at all.
  private func meetNothing() {
    if let current { return restore(current) }
    if seed == nil { isSettled = true } else { plant() }
  }

  /// The store has lost a head that this node never ran, since it refused it, is not of its stage, or had not got it yet.
  /// Whoever runs it gives it back, and it is heard of again; otherwise it is gone, and this node goes on from what it runs.
  private func abandon(_ head: SignedHead) {
    if target == head { (target, retryAt, attempt) = (nil, .max, attempt + 1) }
    current = running?.head
    leading.forget()
    askAt = context.clock() + Self.pause
  }

  /// Gives the store back a head that it has lost, if this node has the body too.
  private func restore(_ head: SignedHead) {
    guard !isRestoring else { return }
    guard let running, running.head == head else { return abandon(head) }
    isRestoring = true
    store(running.bytes, as: head.head.body) { [self] isStored in
      guard isStored else { return isRestoring = false }
      let words = ["\(head.head.revision)", "\(head.head.epoch)"].map { Array($0.utf8) }
      context.store.call("restore", words + [head.bytes, Array("\(head.head.body)".utf8)]) { [self] reply in
        isRestoring = false
        switch reply.text {
        case "restored":
          isSettled = true
          context.remark("revision \(head.head.revision) was lost by the store, and is back")
        case "known", "outdone": contest(head)
        default: askAt = context.store.isUp ? context.clock() + Self.pause : .max
        }
      }
    }
  }
}
