import Core
import Net

/// Follows a revision until every node has it, or somebody does not want it.
struct RevisionWait {
  /// From one question to the next, in microseconds: nodes take a revision over within some milliseconds.
  private static let pause: UInt32 = 20_000
  /// How long nodes may take, in nanoseconds, beyond a stage's hold.
  private static let patience: Int64 = 15_000_000_000

  private let client: AdminClient
  private let verb: String
  private let isJSON: Bool

  init(_ client: AdminClient, verb: String, isJSON: Bool) {
    (self.client, self.verb, self.isJSON) = (client, verb, isJSON)
  }

  /// Prints who has it and since when; whether all have.
  func run(_ revision: Int64) -> Bool {
    var revision = revision
    var told: Set<String> = []
    var deadline = Clock.monotonic().advanced(byNanoseconds: Self.patience)
    var isLookedAt = false
    while true {
      guard let answer = client.ask(.init(path: "/v1/config/revisions/\(revision)"), for: verb),
        let json = answer.json
      else { return false }
      let stage = json["stage"]?.elements ?? []
      if !isLookedAt {
        isLookedAt = true
        deadline = deadline.advanced(byNanoseconds: (json["holdMilliseconds"]?.integer ?? 0) * 1_000_000)
      }
      let nodes = json["nodes"]?.elements ?? []
      for node in nodes where node["state"]?.string != "waiting" && told.insert(node["node"]?.string ?? "").inserted {
        if !isJSON { Console.output(RevisionText.node(node)) }
      }
      let isNewest = json["newest"]?.bool == true
      if !isNewest, let next = successor(of: revision), !next.isSame {
        // The leader has gone on by itself: with a stage, or back because a node refuses.
        if !isJSON { Console.output("revision \(next.number), \(next.what)\n") }
        guard next.isPromotion else { return false }
        (revision, told) = (next.number, [])
        continue
      }
      if json["complete"]?.bool == true, stage.isEmpty {
        if isJSON { Console.output(String(decoding: answer.body, as: UTF8.self)) }
        return true
      }
      if Clock.monotonic() >= deadline {
        if isJSON { Console.output(String(decoding: answer.body, as: UTF8.self)) }
        for node in nodes where node["state"]?.string != "active" { Console.error(RevisionText.node(node)) }
        return false
      }
      OSThread.pause(microseconds: Self.pause)
    }
  }

  private struct Successor {
    let number: Int64
    let what: String
    let isPromotion: Bool
    let isSame: Bool
  }

  private func successor(of revision: Int64) -> Successor? {
    guard let json = client.ask(.init(path: "/v1/config/revisions/\(revision + 1)"), for: verb)?.json else {
      return nil
    }
    let cause = json["cause"]?.string ?? ""
    return Successor(
      number: revision + 1, what: "\(cause): \(json["message"]?.string ?? "")", isPromotion: cause == "promoted",
      isSame: false)
  }
}
