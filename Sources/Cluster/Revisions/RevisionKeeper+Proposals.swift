import Core

/// Somebody who wants to know what became of a draft.
struct ProposalWaiter {
  /// How long he is kept waiting, in nanoseconds: less than an admin port waits for its answers.
  static let patience: Int64 = 3_500_000_000
  /// How often the store is asked, should its word have been lost.
  static let interval: Int64 = 500_000_000

  let deadline: Int64
  var askAt: Int64
  let then: (RevisionOutcome) -> Void
}

extension RevisionKeeper {
  /// Has the leader decide about `draft`. `then` is called once, within four seconds: without a leader the draft waits for
  /// one, and ``outcome(of:then:)`` tells what became of it.
  public func propose(_ draft: RevisionDraft, then: @escaping (RevisionOutcome) -> Void) {
    let id = freshID()
    switch draft.wish {
    case .apply(let body):
      let bytes = body.sealed(context.secrets)
      let proposal = RevisionProposal(id: id, draft, .apply, body: RevisionName(of: bytes))
      store(bytes, as: proposal.body) { [self] isStored in
        if isStored { submit(proposal, then) } else { then(.unavailable) }
      }
    case .rollBack(let revision):
      seek(revision) { [self] head in
        guard let head else { return then(.refused("revision \(revision) is not known any more")) }
        var proposal = RevisionProposal(id: id, draft, .rollBack, body: head.head.body)
        proposal.origin = revision
        submit(proposal, then)
      }
    }
  }

  /// What became of a draft that waited.
  public func outcome(of id: String, then: @escaping (RevisionOutcome) -> Void) {
    context.store.call("outcome", [id]) { reply in
      then(reply.text.map { RevisionOutcome($0, id: id) } ?? .unavailable)
    }
  }

  private func freshID() -> String {
    [context.world.random(), context.world.random()].map { word in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }.joined()
  }

  /// Puts a body into the store, where it waits for its head.
  func store(_ bytes: [UInt8], as name: RevisionName, then: @escaping (Bool) -> Void) {
    context.store.call("store_body", [Array("\(name)".utf8), bytes], within: Self.patience) { reply in
      then(reply.number != nil)
    }
  }

  /// Puts a proposal into the queue.
  private func submit(_ proposal: RevisionProposal, _ then: @escaping (RevisionOutcome) -> Void) {
    let base = proposal.base < 0 ? "" : "\(proposal.base)"
    let words = [proposal.id, base, "\(proposal.body)"].map { Array($0.utf8) }
    context.store.call("propose", words + [proposal.encoded(context.secrets)]) { [self] reply in
      switch reply {
      case .refused(let code, let reason):
        return then(.refused(code == "MISSING" ? "what it said is not kept any more" : reason))
      case .failed(let mayHaveRun) where !mayHaveRun: return then(.unavailable)
      default: break
      }
      let outcome = reply.text.map { RevisionOutcome($0, id: proposal.id) } ?? .waiting(proposal.id)
      guard case .waiting = outcome else { return then(outcome) }
      let moment = context.clock()
      waiters[proposal.id] = ProposalWaiter(
        deadline: moment + ProposalWaiter.patience, askAt: moment + ProposalWaiter.interval, then: then)
    }
  }

  /// The library has said what became of one.
  func settled(_ text: String) {
    guard let space = text.firstIndex(of: " ") else { return }
    let id = String(text[..<space])
    waiters.removeValue(forKey: id)?.then(RevisionOutcome(String(text[text.index(after: space)...]), id: id))
  }

  /// Asks for those who wait, and lets go of those who have waited long enough.
  func advanceWaiters(_ moment: Int64) -> Int64 {
    var next = Int64.max
    for (id, waiter) in waiters {
      if waiter.deadline <= moment {
        waiters[id] = nil
        waiter.then(.waiting(id))
        continue
      }
      if waiter.askAt <= moment {
        waiters[id]?.askAt = moment + ProposalWaiter.interval
        outcome(of: id) { [self] outcome in
          guard outcome != .waiting(id), outcome != .unavailable else { return }
          waiters.removeValue(forKey: id)?.then(outcome)
        }
      }
      next = min(next, waiter.deadline, waiters[id]?.askAt ?? .max)
    }
    return next
  }

  /// Proposes this node's own configuration to a cluster that has none. Whoever leads publishes it at once; others come
  /// forward only if it has nothing to say.
  func plant() {
    guard let seed, current == nil, !leading.isPlanted else { return }
    if !isLeader {
      guard leading.plantAt <= context.clock() else {
        if leading.plantAt == .max { leading.plantAt = context.clock() + Self.pause * 2 }
        return
      }
    }
    leading.isPlanted = true
    let bytes = seed.sealed(context.secrets)
    var proposal = RevisionProposal(
      id: freshID(), .seed, base: 0, body: RevisionName(of: bytes), author: context.identity.name,
      message: "the file of the first node")
    proposal.tolerance = .max
    store(bytes, as: proposal.body) { [self] isStored in
      guard isStored else { return leading.isPlanted = false }
      submit(proposal) { [self] outcome in if current == nil, outcome != .published(1) { leading.isPlanted = false } }
    }
  }

  /// Tells the leader of a head that the store has lost, and that others have gone on without.
  func contest(_ head: SignedHead) {
    guard leading.contested != head.name else { return }
    leading.contested = head.name
    var proposal = RevisionProposal(
      id: freshID(), .restore, base: -1, body: head.head.body, author: context.identity.name,
      message: "revision \(head.head.revision) was lost by the store")
    proposal.lost = head.bytes
    submit(proposal) { _ in }
  }
}
