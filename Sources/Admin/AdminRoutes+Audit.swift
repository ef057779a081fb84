import Cluster
import Core
import Crypto
import Gateway
import Pipeline

extension AdminRoute {
  /// The audit log of the cluster. `agree` runs an action on the control loop, with the agent if there is a cluster.
  public static func audit(_ agree: @escaping Agreement) -> [AdminRoute] {
    [
      AdminRoute(
        .get, "/v1/audit", role: .viewer, operation: "getAudit",
        summary: "Who changed what, or was refused to: lines of the audit log, oldest first, 200 of them at most.",
        parameters: [
          Parameter(
            "after", .integer(0...(1 << 53)), "The number of the line behind which to begin; left out, from the first.")
        ],
        outcomes: [
          Outcome(200, "The lines, as they were signed.", "application/json", schema: "Audit"),
          Outcome(409, "There is no cluster.", "application/problem+json", schema: "Problem"),
          Outcome(503, "The store is out of reach.", "application/problem+json", schema: "Problem"),
        ],
        handler: .later { request, reply in
          let after = request.parameter("after").flatMap { Int64($0) } ?? 0
          let decision = request.decision
          agree { agent in
            guard let agent else { return reply(.problem(AdminProblem.noCluster, decision)) }
            let keys = agent.audit.keys
            agent.audit.read(after: after) { lines, last in
              guard let lines else { return reply(.problem(AdminProblem.storeAway, decision)) }
              reply(.json { write(lines, last: last, keys, to: &$0) })
            }
          }
        })
    ]
  }

  private static func write(_ lines: [[UInt8]], last: Int64, _ keys: [[UInt8]], to json: inout JSONWriter) {
    json.beginObject()
    json.key("last")
    json.integer(last)
    json.key("publicKeys")
    json.beginArray()
    for key in keys { json.string(Base64.encode(key)) }
    json.endArray()
    json.key("lines")
    json.beginArray()
    for line in lines { json.string(String(decoding: line, as: UTF8.self)) }
    json.endArray()
    json.endObject()
  }
}
