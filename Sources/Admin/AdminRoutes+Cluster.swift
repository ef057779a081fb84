import Cluster
import Core
import Gateway
import Pipeline

extension AdminRoute {
  /// Runs something with a node's agent, on its control loop; with nil where the node has no cluster.
  public typealias Agreement = @Sendable (_ action: @escaping @Sendable (ClusterAgent?) -> Void) -> Void

  /// Who is there. `agree` is called on the admin thread.
  public static func cluster(_ agree: @escaping Agreement) -> [AdminRoute] {
    [
      AdminRoute(
        .get, "/v1/nodes", role: .viewer, operation: "listNodes",
        summary: "The members of the cluster: what each says of itself, and who leads.",
        outcomes: [
          Outcome(
            200, "The members, as the store knows them or as the node last heard.", "application/json", schema: "Nodes"),
          Outcome(409, "The node has no cluster.", "application/problem+json", schema: "Problem"),
        ],
        handler: .later { request, reply in
          agree { agent in
            guard let agent else { return reply(.problem(AdminProblem.noCluster, request.decision)) }
            agent.members.refresh { [weak agent] _ in
              guard let agent else { return }
              let view = agent.view
              reply(.json { write(view, at: request.time, to: &$0) })
            }
          }
        })
    ]
  }

  private static func write(_ view: ClusterView, at time: WallTime, to json: inout JSONWriter) {
    json.beginObject()
    json.key("node")
    json.string(view.own.id)
    json.key("time")
    json.string(CivilDate(time).rfc3339)
    json.key("leader")
    if view.leader.isEmpty { json.null() } else { writeLeader(view, to: &json) }
    json.key("generation")
    json.integer(view.generation)
    json.key("storeUp")
    json.bool(view.isStoreUp)
    json.key("ageMilliseconds")
    json.integer(view.age / 1_000_000)
    json.key("nodes")
    json.beginArray()
    for member in view.members {
      write(member, role: member.record.identity.id == view.leader ? "leader" : "member", to: &json)
    }
    json.endArray()
    json.key("routers")
    json.beginArray()
    for router in view.routers { write(router, role: "router", to: &json) }
    json.endArray()
    json.endObject()
  }

  private static func writeLeader(_ view: ClusterView, to json: inout JSONWriter) {
    json.beginObject()
    json.key("id")
    json.string(view.leader)
    json.key("name")
    json.string(view.leaderName)
    json.key("epoch")
    json.integer(view.epoch)
    json.key("since")
    if view.leaderSince.microseconds > 0 { json.string(CivilDate(view.leaderSince).rfc3339) } else { json.null() }
    json.endObject()
  }

  private static func write(_ member: Member, role: StaticString, to json: inout JSONWriter) {
    let record = member.record
    json.beginObject()
    json.key("id")
    json.string(record.identity.id)
    json.key("name")
    json.string(record.identity.name)
    json.key("role")
    json.literal(role)
    json.key("alive")
    json.bool(member.isAlive)
    json.key("listed")
    json.bool(member.isListed)
    json.key("ageMilliseconds")
    json.integer(member.age / 1_000_000)
    json.key("since")
    json.string(CivilDate(record.since).rfc3339)
    json.key("version")
    json.string(record.identity.version)
    json.key("libraries")
    write(record.libraries, to: &json)
    json.key("listeners")
    write(record.listeners, to: &json)
    json.key("admin")
    if let admin = record.admin { json.string(admin) } else { json.null() }
    json.key("ready")
    json.bool(record.isReady)
    json.key("draining")
    json.bool(record.isDraining)
    json.key("revision")
    json.integer(record.revision)
    json.key("digest")
    json.string(record.digest)
    json.key("kept")
    json.bool(record.isKept)
    writeFacts(record, to: &json)
    json.key("storeMicroseconds")
    json.integer(record.storeMicroseconds)
    json.endObject()
  }

  private static func writeFacts(_ record: MemberRecord, to json: inout JSONWriter) {
    json.key("facts")
    json.beginObject()
    json.key("epoch")
    json.integer(record.factsEpoch)
    json.key("sequence")
    json.integer(record.factsSequence)
    json.endObject()
    json.key("load")
    json.beginObject()
    json.key("requestsPerSecond")
    json.number(record.requestsPerSecond)
    json.key("connections")
    json.integer(record.connections)
    json.endObject()
  }

  private static func write(_ texts: [String], to json: inout JSONWriter) {
    json.beginArray()
    for text in texts { json.string(text) }
    json.endArray()
  }
}
