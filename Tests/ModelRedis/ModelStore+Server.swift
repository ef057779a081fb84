extension ModelStore {
  /// What concerns the server and not its keys. What concerns a connection is the model server's.
  static let server: [String: Command] = [
    "ping": read(-1) { (_, words) throws(ModelFault) in words.count > 1 ? .bytes(words[1]) : .status("PONG") },
    "echo": read(2) { (_, words) throws(ModelFault) in .bytes(words[1]) },
    "time": read(1) { (store, _) throws(ModelFault) in
      let now = store.clock()
      return .list([.text("\(now / 1_000_000)"), .text("\(now % 1_000_000)")])
    },
    "role": read(1) { (store, _) throws(ModelFault) in
      store.standing.isReplica
        ? .list([.text("slave"), .text("10.0.0.9"), .integer(6379), .text("connected"), .integer(0)])
        : .list([.text("master"), .integer(0), .list([ModelReply]())])
    },
    "info": read(-1) { (store, words) throws(ModelFault) in .text(store.info(words.keyword(1))) },
    "config": read(-2) { (store, words) throws(ModelFault) in
      guard words.keyword(1) == "GET" else { throw ModelFault("ERR only CONFIG GET is modelled") }
      let found = store.configuration.filter { one in
        words.from(2).contains { matches(Array(one.name.utf8)[...], $0[...]) }
      }
      return .list(found.flatMap { [.text($0.name), .text($0.value)] })
    },
    "wait": read(3) { (store, _) throws(ModelFault) in
      let (written, followed) = store.replication()
      if followed != written { store.hurryReplica() }
      // Who waits for longer than a moment is not modelled.
      return .integer(followed == written ? 1 : 0)
    },
    "publish": read(3) { (store, words) throws(ModelFault) in .integer(Int64(store.publish(words[1], words[2]))) },
    // Redis before 6.0 does not know it; nodes speak RESP2 and do not ask.
    "hello": read(-1) { (_, _) throws(ModelFault) in throw ModelFault("NOPROTO unsupported protocol version") },
    "client": read(-2) { (_, words) throws(ModelFault) in
      switch words.keyword(1) {
      case "SETNAME", "SETINFO", "NO-EVICT": return .ok
      case "ID": return .integer(1)
      default: throw ModelFault("ERR unknown subcommand '\(words.text(1))'. Try CLIENT HELP.")
      }
    },
    "select": read(2) { (_, words) throws(ModelFault) in
      guard try words.integer(1) == 0 else { throw ModelFault("ERR only database 0 is modelled") }
      return .ok
    },
  ]

  private func info(_ section: String) -> String {
    let (written, followed) = replication()
    let replica = followed.map { "slave0:ip=10.0.0.9,port=6379,state=online,offset=\($0),lag=0\r\n" } ?? ""
    let sections = [
      (
        "SERVER",
        "# Server\r\nredis_version:\(standing.hasFunctions ? "7.0.15" : "6.2.14")\r\nredis_mode:standalone\r\n"
      ),
      ("MEMORY", "# Memory\r\nused_memory:1000000\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"),
      ("PERSISTENCE", "# Persistence\r\nloading:0\r\naof_enabled:0\r\nrdb_last_bgsave_status:ok\r\n"),
      (
        "REPLICATION",
        "# Replication\r\nrole:\(standing.isReplica ? "slave" : "master")\r\nconnected_slaves:\(replica.isEmpty ? 0 : 1)\r\n"
          + replica + "master_replid:\(standing.replicationID)\r\nmaster_repl_offset:\(written)\r\n"
      ),
    ]
    return sections.filter { section.isEmpty || $0.0 == section }.map(\.1).joined(separator: "\r\n")
  }
}
