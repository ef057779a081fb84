// Where the configuration comes from in a cluster: from a revision that all nodes have, not from the node's own file.

import Cluster
import Core
import Net
import Pipeline

extension ControlFlow {
  /// Goes back to the last revision that this node ran, of which its disk still has a good copy.
  mutating func resumeRevision() {
    guard let desk else { return }
    if desk.isPartial {
      node.sources.report("the file has errors outside the node's own sections; the cluster's revision is awaited")
    }
    for candidate in desk.keeper.load() {
      let (compiled, fault) = desk.compile(candidate.body)
      let revision = candidate.head.head.revision
      guard let compiled else {
        node.sources.report("cluster: the last good revision \(revision) is of no use here: \(fault)")
        continue
      }
      desk.keeper.resume(candidate)
      return adopt(compiled)
    }
  }

  /// Whether the node knows what to serve, or has waited long enough to find out.
  mutating func knowsConfiguration() -> Bool {
    guard let desk else { return true }
    guard desk.keeper.isSettled || desk.startsAt <= world.now else { return false }
    let running = desk.keeper.running
    if running == nil, desk.isPartial {
      fail("the file has errors, and nobody knows of a revision of the cluster that could be served instead")
      return false
    }
    if !desk.keeper.isSettled {
      let what = running.map { "revision \($0.head.head.revision), the last that it ran" }
      node.sources.report("cluster: the store does not answer; serving under \(what ?? "the node's own file")")
    }
    if let running { compareFile(running.body) }
    return true
  }

  /// Has a revision compiled; see ``finish(_:)``.
  func take(_ candidate: RevisionCandidate) {
    if let work = desk?.beginCompiling(candidate) { start(work) }
  }

  private func start(_ work: RevisionWork) {
    if work.isKnown { return finish(work.run()) }
    let control = node.control
    OSThread.run(name: "configuration", givesWay: true) { control.send(.compiled(work.run())) }
  }

  /// Has what was compiled kept on the disk, or refuses it.
  func finish(_ result: CompiledRevision) {
    guard let desk else { return }
    let (isCurrent, next) = desk.endCompiling(result)
    defer { if let next { start(next) } }
    let candidate = result.work.candidate
    guard isCurrent, desk.keeper.isWanted(candidate) else { return }
    node.shared.metrics.countReload(succeeded: result.blueprint != nil, at: world.wallTime)
    guard let compiled = result.blueprint else { return desk.keeper.refused(candidate, because: result.fault) }
    desk.hold(compiled, for: candidate)
    desk.keeper.keep(candidate)
  }

  /// Takes over a revision that is on the disk, or will never be.
  mutating func swap(to candidate: RevisionCandidate) {
    guard let desk, let compiled = desk.release(candidate) else { return }
    adopt(compiled)
    let head = candidate.head.head
    guard hasStarted else { return desk.keeper.adopted(candidate) }
    let serial = desk.begin(candidate)
    let control = node.control
    publish { control.send(.configured(serial)) }
    let why = head.message.isEmpty ? "" : ": \(head.message)"
    node.sources.report("cluster: revision \(head.revision) by \(head.author)\(why)")
  }

  /// Warns where the node's own file says otherwise than the cluster.
  private func compareFile(_ body: RevisionBody) {
    guard let desk else { return }
    let count = desk.difference(from: body)
    guard count > 0 else { return }
    node.sources.report(
      "the cluster's configuration holds, from which \(node.sources.file) differs in \(Self.objects(count)); see: "
        + "sluice plan \(node.sources.file)")
  }

  private static func objects(_ count: Int) -> String { "\(count) object\(count == 1 ? "" : "s")" }

  /// The node's file was read again: its own sections hold from now on, with the revision that is in force.
  mutating func renew(_ file: NodeFile, _ fresh: Blueprint) -> Blueprint? {
    guard let desk else { return fresh }
    let isSecretNew = desk.own.cluster.secret != fresh.own.cluster.secret
    (desk.own, desk.file) = (fresh.own, file.body)
    agent?.replaceSecrets(ClusterSecrets(fresh.cluster))
    if isSecretNew { desk.keeper.secretsReplaced() }
    guard let running = desk.keeper.running else {
      if file.isPartial { node.sources.report("the configuration is unchanged, since the file has errors") }
      return file.isPartial ? nil : fresh
    }
    let count = desk.difference(from: running.body)
    if count > 0 {
      let revision = running.head.head.revision
      node.sources.report(
        "revision \(revision) of the cluster stays in force, from which the file differs in \(Self.objects(count)); "
          + "to change it: sluice apply \(node.sources.file)")
    }
    let (compiled, fault) = desk.compile(running.body)
    if compiled == nil { node.sources.report("the revision does not go with the node's new sections: \(fault)") }
    return compiled
  }
}

extension ClusterSecrets {
  /// What follows from the section `cluster`.
  init(_ settings: ClusterSettings) {
    self.init(secret: settings.secret, former: settings.formerSecret.isEmpty ? nil : settings.formerSecret)
  }
}
