import Cluster
import Core
import Gateway
import Net

extension Verb {
  /// `sluice inspect`.
  static let inspect = Verb(
    "inspect", "[OPTIONS] FILE", summary: "where a shared store keeps somebody's counters",
    description: """
      Connects to the Redis of a configuration file and shows each limit of a consumer, or of one route: its lane, the
      hashes and the field that count it, the bytes there, and what they mean; of a concurrency limit also who holds
      slots. Nothing is changed.
      """,
    options: [
      Option("--consumer", value: "ID", "whose counters; left out, those of somebody without a key"),
      Option("--key", value: "ID", "only those of this key of the consumer's"),
      Option("--route", value: "ID", "only the limits of this route"),
      Option("--ip", value: "ADDRESS", "also limits by address, for this one"),
    ],
    examples: [
      "sluice inspect --consumer mobile-app sluice.json", "sluice inspect --route orders --ip 10.1.2.3 s.json",
    ]
  ) { arguments throws(UsageError) in
    guard arguments.operands.count == 1 else { throw UsageError("inspect takes one configuration file; name it") }
    guard arguments.has("--consumer") || arguments.has("--route") else {
      throw UsageError("inspect needs --consumer ID or --route ID")
    }
    let file = ConfigurationFile.read(arguments.operands[0])
    guard let blueprint = file.blueprint else {
      for diagnostic in file.diagnostics { Console.error(diagnostic.text(file: arguments.operands[0]) + "\n") }
      return .failed
    }
    guard case .redis(let store) = blueprint.store else {
      Console.error("sluice inspect: limits are counted in each node's own memory; there is no store to look into\n")
      return .failed
    }
    let survey = try InspectSurvey(blueprint, arguments)
    do throws(InspectFailure) {
      var settings = SharedQuotaSettings(
        store: store, cluster: blueprint.cluster.name, keys: ClusterKeys(secret: blueprint.cluster.nameSecret),
        clientName: "sluice-inspect")
      settings.deadline = 1_000_000_000
      let session = try InspectSession(settings, survey)
      let counters = try session.run()
      Console.output(InspectText.render(counters, session.survey, clock: session.clock, laneCount: settings.laneCount))
      return .done
    } catch {
      Console.error("sluice inspect: \(error.message)\n")
      return .failed
    }
  }
}

/// Why there is nothing to show.
struct InspectFailure: Error {
  /// What, and what to do about it.
  let message: String
}
