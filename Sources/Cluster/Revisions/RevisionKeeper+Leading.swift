import Core

/// What a leader has to keep in mind, and candidates have; forgotten when the lead changes.
struct Leading {
  /// A decision or a publication is under way.
  var isBusy = false
  /// Its own configuration has been proposed, or will be then.
  var isPlanted = false
  var plantAt = Int64.max
  /// The head that this node has signed last: it need not verify what it has made.
  var signed: SignedHead?
  /// The lost head that the leader has been told of.
  var contested: RevisionName?
  /// What nodes say of the head in force; nil where that has not been read.
  var acks: [String: RevisionAck]?
  var stage: RevisionStage?
  /// When the leader looks again at what becomes of the head.
  var lookAt: Int64 = 0
  /// What is in force must be sealed and signed with the new secret.
  var mustReseal = false

  /// The head of these bytes, if this node has signed it.
  func head(of bytes: [UInt8]) -> SignedHead? { signed.flatMap { $0.bytes == bytes ? $0 : nil } }

  /// There is another head.
  mutating func forget() { (acks, stage, lookAt, plantAt, mustReseal) = ([:], nil, 0, .max, false) }
}

extension RevisionKeeper {
  /// How long after its publication a revision is taken back because nodes refuse it, in microseconds: a node that joins
  /// next week must not turn the cluster round.
  private static let refusalWindow: Int64 = 60_000_000
  /// How often the leader looks at a stage, in nanoseconds.
  private static let look: Int64 = 1_000_000_000

  // MARK: Proposals

  /// Decides about the first proposal in the queue, where this node leads.
  func takeProposal(_ bytes: [UInt8]) {
    guard !bytes.isEmpty, isLeader, !leading.isBusy else { return }
    leading.isBusy = true
    guard let proposal = RevisionProposal(bytes, context.secrets) else {
      context.remark("something that no member of the cluster made was proposed as a revision")
      return dismiss("forged", bytes, .refused("it is not signed with this cluster's secret"))
    }
    let present = current?.head.revision ?? 0
    if proposal.kind == .restore { return renumber(proposal, bytes) }
    if proposal.base >= 0, proposal.base != present {
      return dismiss(proposal.id, bytes, .conflict(current: present))
    }
    if proposal.kind == .apply, let current, !current.head.stage.isEmpty {
      let reason = "revision \(present) is staged; wait for its end, or roll back to \(current.head.base)"
      return dismiss(proposal.id, bytes, .refused(reason))
    }
    readBody(proposal.body) { [self] outcome in
      switch outcome {
      case .success(let content):
        judge(content.body) { [self] reason in
          if let reason { dismiss(proposal.id, bytes, .refused(reason)) } else { publish(proposal, bytes) }
        }
      case .failure(let fault): dismiss(proposal.id, bytes, .refused(fault.description))
      case nil: rest()
      }
    }
  }

  private func dismiss(_ id: String, _ proposal: [UInt8], _ outcome: RevisionOutcome) {
    guard let epoch = leadership.fence(at: context.clock()) else { return rest() }
    let words = [context.identity.id, "\(epoch)", id].map { Array($0.utf8) }
    context.store.call("dismiss", words + [proposal, Array(outcome.text.utf8)]) { [self] reply in
      leading.isBusy = false
      if reply.text == "OK" { ask() }
    }
  }

  /// Goes on with the queue after a pause: the next sign of life tells that there is something in it.
  private func rest() { leading.isBusy = false }

  private func publish(_ proposal: RevisionProposal, _ bytes: [UInt8]) {
    let cause: RevisionHead.Cause =
      switch proposal.kind {
      case .apply: .applied
      case .seed: .seeded
      case .rollBack: .rolledBack
      case .restore: .restored
      }
    var head = next(cause, proposal.body, author: proposal.author, message: proposal.message)
    (head.origin, head.tolerance) = (proposal.origin, max(1, proposal.tolerance))
    if proposal.stage > 0 {
      let names = Set(members.all.filter { $0.isListed && $0.isAlive }.map(\.record.identity.name)).sorted()
      guard proposal.stage < names.count, proposal.stage <= RevisionHead.longestStage else {
        return dismiss(
          proposal.id, bytes,
          .refused(
            "a stage must leave a node out: there \(names.count == 1 ? "is 1 node" : "are \(names.count) nodes")"))
      }
      head.stage = Array(names.prefix(Int(proposal.stage)))
      head.holdMilliseconds = min(max(0, proposal.holdMilliseconds), RevisionHead.longestHold)
    }
    publish(head, proposal.id, bytes)
  }

  /// The head that would come next, for all nodes.
  private func next(
    _ cause: RevisionHead.Cause, _ body: RevisionName, author: String, message: String
  ) -> RevisionHead {
    var head = RevisionHead(
      revision: (current?.head.revision ?? 0) + 1, epoch: 0, body: body, previous: current?.name ?? .none,
      time: context.world.wallTime.microseconds, cause: cause, author: author, message: message)
    if let current { head.base = current.head.stage.isEmpty ? current.head.revision : current.head.base }
    return head
  }

  /// Publishes `head`, in answer to a proposal or (`id` empty) of the leader's own accord.
  private func publish(_ head: RevisionHead, _ id: String, _ proposal: [UInt8]) {
    guard let epoch = leadership.fence(at: context.clock()) else { return rest() }
    var head = head
    head.epoch = epoch
    let signed = SignedHead(head, context.secrets)
    leading.signed = signed
    let base = current?.head.revision ?? 0
    let words = [context.identity.id, "\(epoch)", "\(base)", "\(head.revision)"].map { Array($0.utf8) }
    context.store.call(
      "publish", words + [signed.bytes, Array("\(head.body)".utf8), Array(id.utf8), proposal]
    ) { [self] reply in
      if case .refused("CONFLICT", let reason) = reply, !id.isEmpty {
        let present = reason.split(separator: " ").compactMap { Int64($0) }.first ?? 0
        return dismiss(id, proposal, .conflict(current: present))
      }
      if case .refused("MISSING", _) = reply, !id.isEmpty {
        return dismiss(id, proposal, .refused("what it said is not kept any more"))
      }
      leading.isBusy = false
      if reply.number == head.revision { note(signed.bytes) }
      switch reply {
      // Somebody else leads, or nobody knows: a sign of life will tell.
      case .failed, .refused("FENCED", _): return
      default: ask()
      }
    }
  }

  /// A node knows a revision that the store has lost, and that others have gone on without: the numbers go on behind it. What
  /// counts is what has been published since, unless that is only the file that an emptied store began with.
  private func renumber(_ proposal: RevisionProposal, _ bytes: [UInt8]) {
    guard let current, let lost = try? SignedHead(proposal.lost, context.secrets),
      lost.head.revision >= current.head.revision, lost.name != current.name
    else { return dismiss(proposal.id, bytes, .refused("nothing was lost")) }
    let isOnlySeed = current.head.cause == .seeded && lost.head.cause != .seeded
    var head = next(
      .restored, isOnlySeed ? lost.head.body : current.head.body, author: proposal.author, message: proposal.message)
    head.revision = lost.head.revision + 1
    head.origin = isOnlySeed ? lost.head.revision : current.head.revision
    publish(head, proposal.id, bytes)
  }

  // MARK: What becomes of a revision

  /// A node says what it does with a revision.
  func noteAck(_ ack: RevisionAck) {
    guard ack.revision == current?.head.revision else { return }
    leading.acks?[ack.node] = ack
    if ack.state == .refused { leading.lookAt = 0 }
  }

  /// Does the leader's part; returns when to be called again.
  func lead(_ moment: Int64) -> Int64 {
    guard isLeader, let current, context.store.isUp, !leading.isBusy else { return .max }
    guard let acks = leading.acks else {
      leading.acks = [:]
      heads(from: 0, count: 1) { [self] _, acks in for ack in acks { noteAck(ack) } }
      return .max
    }
    let refusals = acks.values.filter { $0.state == .refused }.sorted { $0.node < $1.node }
    let age = context.world.wallTime.microseconds - current.head.time
    guard leading.lookAt <= moment else { return leading.lookAt }
    if refusals.count >= current.head.tolerance, age < Self.refusalWindow,
      canGoBack(current.head, refusedBy: refusals.count)
    {
      leading.lookAt = moment + Self.look
      goBack(current, because: "refused by " + refusals.map { "\($0.node): \($0.reason)" }.joined(separator: "; "))
      return leading.lookAt
    }
    if !current.head.stage.isEmpty { return watchStage(current, moment) }
    if leading.mustReseal, let running, running.head == current {
      leading.lookAt = moment + Self.look
      reseal(running)
    }
    return leading.lookAt > moment ? leading.lookAt : .max
  }

  /// Whether there is something to go back to. Of two bad revisions one right behind the other the second is taken back to the
  /// first, which is then taken back too; but only where most nodes refuse it: one that refuses everything must not lead
  /// the cluster back through its history.
  private func canGoBack(_ head: RevisionHead, refusedBy count: Int) -> Bool {
    guard head.base > 0 else { return false }
    if head.cause == .reverted { return count * 2 > members.listedCount }
    return [.applied, .rolledBack, .promoted].contains(head.cause)
  }

  private func watchStage(_ current: SignedHead, _ moment: Int64) -> Int64 {
    leading.lookAt = moment + Self.look
    members.refresh { [self] isGood in
      guard isGood, isLeader, self.current == current, !leading.isBusy else { return }
      let now = context.clock()
      var stage =
        leading.stage
        ?? RevisionStage(of: current.head.stage, endsAt: now + current.head.holdMilliseconds * 1_000_000)
      for member in members.all where member.isAlive {
        let record = member.record
        // What a node did before it ran the revision says nothing of it.
        guard !current.head.isFor(record.identity.name) || record.revision == current.head.revision else { continue }
        stage.note(
          RevisionStage.Load(
            requests: record.requests, failures: record.failures, microseconds: record.requestMicroseconds),
          id: record.identity.id, name: record.identity.name)
      }
      leading.stage = stage
      switch stage.verdict(at: now) {
      case .wait: leading.lookAt = min(leading.lookAt, max(stage.endsAt, now + Self.look / 10))
      case .goBack(let reason): goBack(current, because: reason)
      case .goOn(let reason):
        leading.isBusy = true
        var head = next(.promoted, current.head.body, author: context.identity.name, message: reason)
        (head.origin, head.tolerance) = (current.head.revision, current.head.tolerance)
        publish(head, "", [])
      }
    }
    return leading.lookAt
  }

  /// The cluster's secret has been replaced: what is in force is published anew, so that nobody needs the former one.
  private func reseal(_ running: RevisionCandidate) {
    leading.isBusy = true
    let bytes = running.body.sealed(context.secrets)
    var head = next(
      .resealed, RevisionName(of: bytes), author: context.identity.name, message: "the cluster's secret was replaced")
    head.origin = running.head.head.revision
    store(bytes, as: head.body) { [self] isStored in
      guard isStored, current == running.head else { return rest() }
      publish(head, "", [])
    }
  }

  /// Has all nodes go back to what was in force before.
  private func goBack(_ current: SignedHead, because reason: String) {
    leading.isBusy = true
    seek(current.head.base) { [self] former in
      guard let former, self.current == current else { return rest() }
      var head = next(
        .reverted, former.head.body, author: context.identity.name,
        message: RevisionDraft.cut("revision \(current.head.revision) \(reason)", to: RevisionHead.longestMessage))
      (head.origin, head.base) = (former.head.revision, former.head.base)
      publish(head, "", [])
    }
  }
}
