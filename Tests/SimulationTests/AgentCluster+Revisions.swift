import Core
import Simulation

@testable import Cluster

/// The disk of a machine, as far as revisions are on it: it outlives the processes there.
final class SimulatedShelf: RevisionShelf {
  private var files: [(name: String, bytes: [UInt8])] = []
  let facts = SimulatedFactShelf()

  func load() -> [(name: String, bytes: [UInt8])] { files }

  func keep(_ bytes: [UInt8], revision: Int64, done: @escaping @Sendable (String?) -> Void) {
    files.insert(("\(revision)", bytes), at: 0)
    files.removeLast(max(0, files.count - LastGood.kept))
    done(nil)
  }
}

/// What a node runs.
struct SimulatedRun {
  var revision: Int64 = 0
  var text = ""
}

extension AgentCluster {
  /// Whether a node could run such a configuration.
  static func isGood(_ body: RevisionBody) -> Bool { !body.text.starts(with: Array("bad".utf8)) }

  private static func body(_ text: String) -> RevisionBody { RevisionBody(text: Array(text.utf8), values: [:])! }

  /// What a node does with revisions before it begins.
  func prepare(_ agent: ClusterAgent, life: Int, place: Int) {
    while shelves.count <= place { shelves.append(SimulatedShelf()) }
    let keeper = agent.revisions
    keeper.shelf = shelves[place]
    keeper.seed = Self.body("seed of node \(life)")
    if let best = keeper.load().first { keeper.resume(best) }
  }

  /// A node hears of a revision: to compile it takes a while, and one comes behind the other.
  func compile(_ candidate: RevisionCandidate, _ life: Int) {
    let earliest = world.now + .microseconds(random.number(in: 100...60_000))
    compiled[life] = max(compiled[life] ?? earliest, earliest)
    world.after(.nanoseconds(compiled[life]!.nanoseconds(since: world.now))) { [unowned self] in
      if lives[life].isAlive { sockets[life].send(.compiled(candidate)) }
    }
  }

  /// Somebody proposes something every now and then, at any node.
  func propose(every pause: Duration, until end: Instant) {
    guard world.now < end else { return }
    let number = current[random.number(in: 0...(current.count - 1))]
    if lives[number].isAlive {
      let isBad = random.chance(0.15)
      let wish: RevisionDraft.Wish =
        random.chance(0.1)
        ? .rollBack(to: random.number(in: 1...10)) : .apply(Self.body("\(isBad ? "bad" : "good") \(proposals)"))
      proposals += 1
      let base = random.chance(0.3) ? runs[number].revision : nil
      var draft = RevisionDraft(wish, base: base, author: "a", message: "m")
      if random.chance(0.2) {
        (draft.stage, draft.holdMilliseconds) = (random.number(in: 1...current.count), random.number(in: 0...4000))
      }
      sockets[number].send(.propose(draft, proposals))
    }
    world.after(pause * random.number(in: 1...3)) { [unowned self] in propose(every: pause, until: end) }
  }

  /// Lets a life propose something good that all nodes are to have at once.
  func propose(at life: Int) {
    proposals += 1
    let draft = RevisionDraft(.apply(Self.body("good \(proposals)")), base: nil, author: "a", message: "m")
    sockets[life].send(.propose(draft, proposals))
  }

  /// What became of a proposal.
  func decided(_ proposal: Int, _ outcome: RevisionOutcome) {
    outcomes.append(outcome)
    guard case .published(let revision) = outcome else { return }
    if let other = published[revision], other != proposal, failures.isEmpty {
      problems.append("proposals \(other) and \(proposal) both are revision \(revision)")
    }
    published[revision] = proposal
  }

  /// What a node runs never goes back, and is never what it refused: looked at in every turn of it.
  func watchRevision(_ life: Int) {
    guard let candidate = agents[life].agent.revisions.running else { return }
    let revision = candidate.head.head.revision
    guard revision != runs[life].revision else { return }
    let moment = world.now.nanoseconds / 1_000_000
    if revision < runs[life].revision {
      problems.append("\(moment) ms: node \(life) goes back from revision \(runs[life].revision) to \(revision)")
    }
    let text = String(decoding: candidate.body.text, as: UTF8.self)
    if !Self.isGood(candidate.body) { problems.append("\(moment) ms: node \(life) runs \(text), which it refused") }
    if let other = texts[revision], other != text, failures.isEmpty {
      problems.append("\(moment) ms: revision \(revision) is \(other) and \(text)")
    }
    texts[revision] = text
    runs[life] = SimulatedRun(revision: revision, text: text)
  }

  /// In the end all who live run one revision, none that was refused, and no older one than any of them ever ran.
  func checkRevisions() {
    let alive = current.filter { lives[$0].isAlive }
    let best = alive.map { runs[$0].revision }.max() ?? 0
    for number in alive {
      let keeper = agents[number].agent.revisions
      let head = keeper.current?.head.revision ?? 0
      if head < best { problems.append("node \(number) knows of revision \(head), others ran \(best)") }
      if keeper.current?.name != agents[alive[0]].agent.revisions.current?.name {
        problems.append("nodes \(number) and \(alive[0]) know different heads")
      }
      if keeper.running?.head != keeper.current {
        problems.append("node \(number) runs revision \(runs[number].revision) of \(head): \(runs[number].text)")
      }
    }
  }
}
