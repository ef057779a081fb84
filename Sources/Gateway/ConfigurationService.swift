// What the admin port does with the cluster's configuration. What is known of it belongs to the control loop, so every
// question begins there; what takes long (compiling, comparing) is done on a thread of its own; answers come on any thread.

import Cluster
import Core
import Net
import Pipeline

/// Reads and changes the cluster's configuration through one node. From any thread.
public struct ConfigurationService: Sendable {
  /// Why something is not done.
  public enum Fault: Error, Sendable {
    /// The node has no cluster.
    case noCluster
    /// The store cannot be asked.
    case unavailable
    /// There is no such revision, or not any more.
    case unknown
    /// The configuration has errors.
    case invalid([Diagnostic])
    /// Not the revision is in force that the change was made for, but this one.
    case conflict(current: Int64)
    /// It cannot be, for this reason.
    case refused(String)
  }

  /// What is in force.
  public struct Present: Sendable {
    /// The newest revision; nil before the first.
    public let head: SignedHead?
    /// What this node runs: an earlier one where the newest is staged elsewhere; nil where it runs its own file.
    public let running: RevisionCandidate?
    let own: NodeSections

    /// The number of the newest revision; 0 for none.
    public var revision: Int64 { head?.head.revision ?? 0 }
  }

  /// What became of a change.
  public enum Applied: Sendable {
    /// It is this revision. `plan` is what it changes.
    case published(Int64, plan: ConfigurationPlan)
    /// It changes nothing.
    case unchanged(Int64)
    /// It waits for a leader under this name.
    case waiting(String)
  }

  /// A configuration that somebody brings along.
  public struct Text: Sendable {
    let text: [UInt8]
    let values: [SecretSource: String]

    /// A text, and what it refers to; what is missing there is taken from what is in force.
    public init(_ text: [UInt8], values: [SecretSource: String]) { (self.text, self.values) = (text, values) }
  }

  /// Takes an answer, once; on any thread.
  public typealias Reply<Value: Sendable> = @Sendable (Result<Value, Fault>) -> Void

  let node: Node

  /// The service of a node.
  public init(_ node: Node) { self.node = node }

  /// What is in force.
  public func present(_ reply: @escaping Reply<Present>) {
    node.consult { agent, blueprint in
      guard let keeper = agent?.revisions else { return reply(.failure(.noCluster)) }
      reply(.success(Present(head: keeper.current, running: keeper.running, own: blueprint.own)))
    }
  }

  // MARK: Changes

  /// What applying `text` would change.
  public func plan(_ text: Text, _ reply: @escaping Reply<(revision: Int64, plan: ConfigurationPlan)>) {
    draft(text) { result in
      guard let (present, draft) = result.value(else: reply) else { return }
      node.agree { agent in
        let keys = agent?.factKeeper.view.keys
        work {
          let consumers = draft.consumers + (keys?.ownConsumers ?? [])
          LimitSurvey(node, draft.plan, consumers: consumers).run { plan in
            reply(.success((present.revision, plan)))
          }
        }
      }
    }
  }

  /// Applies `text`. `complete` fills in the draft; its base is the revision that must be in force, nil for any.
  public func apply(
    _ text: Text, base: Int64?, author: String, message: String,
    _ complete: @escaping @Sendable (inout RevisionDraft) -> Void, _ reply: @escaping Reply<Applied>
  ) {
    draft(text) { result in
      guard let (present, draft) = result.value(else: reply) else { return }
      if let base, base != present.revision { return reply(.failure(.conflict(current: present.revision))) }
      if draft.plan.isEmpty, let running = present.running, running.head == present.head {
        return reply(.success(.unchanged(present.revision)))
      }
      var wish = RevisionDraft(.apply(draft.body), base: base, author: author, message: message)
      complete(&wish)
      propose(wish) { reply($0.map { $0.applied(draft.plan) }) }
    }
  }

  /// Goes back to what an earlier revision said.
  public func rollBack(
    to revision: Int64, author: String, message: String, _ reply: @escaping Reply<Applied>
  ) {
    compare(from: nil, to: revision) { result in
      guard let plan = result.value(else: reply) else { return }
      let wish = RevisionDraft(.rollBack(to: revision), base: nil, author: author, message: message)
      propose(wish) { reply($0.map { $0.applied(plan) }) }
    }
  }

  /// What became of a change that waited.
  public func outcome(of id: String, _ reply: @escaping Reply<Decided>) {
    keeper(reply) { keeper in keeper.outcome(of: id) { Self.settle($0, reply) } }
  }

  /// What a leader has decided.
  public enum Decided: Sendable {
    case published(Int64)
    case waiting(String)

    func applied(_ plan: ConfigurationPlan) -> Applied {
      switch self {
      case .published(let revision): .published(revision, plan: plan)
      case .waiting(let id): .waiting(id)
      }
    }
  }

  func propose(_ draft: RevisionDraft, _ reply: @escaping Reply<Decided>) {
    keeper(reply) { keeper in keeper.propose(draft) { Self.settle($0, reply) } }
  }

  private static func settle(_ outcome: RevisionOutcome, _ reply: Reply<Decided>) {
    switch outcome {
    case .published(let revision): reply(.success(.published(revision)))
    case .waiting(let id): reply(.success(.waiting(id)))
    case .conflict(let current): reply(.failure(.conflict(current: current)))
    case .refused(let reason): reply(.failure(.refused(reason)))
    case .unavailable: reply(.failure(.unavailable))
    case .unknown: reply(.failure(.unknown))
    }
  }

  // MARK: What was

  /// Revisions from `newest` downwards (0: from the newest), `count` of them.
  public func history(from newest: Int64, count: Int, _ reply: @escaping Reply<[RevisionEntry]>) {
    keeper(reply) { keeper in
      keeper.history(from: newest, count: count) { entries in
        reply(entries.map { .success($0) } ?? .failure(.unavailable))
      }
    }
  }

  /// One revision with what each member does with it.
  public func entry(_ revision: Int64, _ reply: @escaping Reply<RevisionStanding>) {
    node.consult { agent, _ in
      guard let agent else { return reply(.failure(.noCluster)) }
      agent.revisions.history(from: revision, count: 1) { [weak agent] entries in
        guard let entries, let agent else { return reply(.failure(.unavailable)) }
        guard let entry = entries.first, entry.head.revision == revision else { return reply(.failure(.unknown)) }
        let members = agent.members.all.filter { $0.isListed && $0.isAlive }.map(\.record.identity.name)
        reply(.success(RevisionStanding(entry, members: Set(members), newest: agent.revisions.current?.head.revision)))
      }
    }
  }

  /// The text of a revision.
  public func text(_ revision: Int64, _ reply: @escaping Reply<(head: RevisionHead, body: RevisionBody)>) {
    keeper(reply) { keeper in
      keeper.body(of: revision) { outcome in
        switch outcome {
        case .success(let content): reply(.success(content))
        case .failure(.missing), nil: reply(.failure(.unknown))
        case .failure(let fault): reply(.failure(.refused(fault.description)))
        }
      }
    }
  }

  /// What leads from one revision to another; nil for what this node runs.
  public func compare(from old: Int64?, to new: Int64?, _ reply: @escaping Reply<ConfigurationPlan>) {
    content(of: old) { before in
      guard let before = before.value(else: reply) else { return }
      content(of: new) { after in
        guard let after = after.value(else: reply) else { return }
        work {
          guard let from = Self.side(before.body, before.own), let to = Self.side(after.body, after.own) else {
            return reply(.failure(.refused("one of the two cannot be read by this version")))
          }
          reply(.success(ConfigurationPlan(from: from, to: to)))
        }
      }
    }
  }

  // MARK: Common parts

  private typealias Content = (own: NodeSections, body: RevisionBody)

  private func content(of revision: Int64?, _ reply: @escaping Reply<Content>) {
    present { result in
      guard let present = result.value(else: reply) else { return }
      guard let revision else {
        guard let body = present.running?.body else { return reply(.failure(.unknown)) }
        return reply(.success((present.own, body)))
      }
      text(revision) { reply($0.map { (present.own, $0.body) }) }
    }
  }

  /// Runs `action` with the node's keeper, on the control loop.
  private func keeper<Value: Sendable>(
    _ reply: @escaping Reply<Value>, _ action: @escaping @Sendable (RevisionKeeper) -> Void
  ) {
    node.consult { agent, _ in
      if let agent { action(agent.revisions) } else { reply(.failure(.noCluster)) }
    }
  }

  /// Runs `action` where nobody waits for it.
  func work(_ action: @escaping @Sendable () -> Void) {
    OSThread.run(name: "configuration", givesWay: true, action)
  }

  private struct Draft: Sendable {
    let body: RevisionBody
    let plan: ConfigurationPlan
    let consumers: [String]
  }

  /// Reads `text` as a revision, and compares it with what this node runs.
  private func draft(_ text: Text, _ reply: @escaping Reply<(Present, Draft)>) {
    present { result in
      guard let present = result.value(else: reply) else { return }
      work {
        let known = present.running?.body.values ?? [:]
        let reading = RevisionReading(text: text.text, for: present.own) { source in
          if let value = text.values[source] ?? known[source] { return .success(value) }
          return .failure(SecretFault("no value for \(source.name) came with the text"))
        }
        guard let body = reading.body, let blueprint = reading.blueprint else {
          return reply(.failure(.invalid(reading.diagnostics)))
        }
        let nothing = RevisionBody(text: Array("{}".utf8), values: [:])
        guard let former = present.running?.body ?? nothing, let old = Self.side(former, present.own) else {
          return reply(.failure(.refused("what is in force cannot be read by this version")))
        }
        let new = ConfigurationPlan.Side(
          blueprint, text: body.text, values: body.values, warnings: reading.diagnostics)
        reply(
          .success(
            (
              present,
              Draft(
                body: body, plan: ConfigurationPlan(from: old, to: new),
                consumers: blueprint.keyRing.consumers.map(\.id))
            )))
      }
    }
  }

  private static func side(_ body: RevisionBody, _ own: NodeSections) -> ConfigurationPlan.Side? {
    let (blueprint, diagnostics) = Blueprint.read(own, revision: body.text, secrets: body.resolver)
    return blueprint.map {
      ConfigurationPlan.Side($0, text: body.text, values: body.values, warnings: diagnostics)
    }
  }
}

extension Result {
  /// The value; where there is none, `reply` gets the failure.
  fileprivate func value<Other>(else reply: (Result<Other, Failure>) -> Void) -> Success? {
    switch self {
    case .success(let value): return value
    case .failure(let failure):
      reply(.failure(failure))
      return nil
    }
  }
}
