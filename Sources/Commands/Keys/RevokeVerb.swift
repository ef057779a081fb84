import Core

extension Verb {
  private static let kinds = ["key", "jti", "subject", "client", "session", "tenant", "signing-key"]

  /// `sluice revoke`.
  static let revoke = Verb(
    "revoke", "[OPTIONS]", summary: "revoke a token, key, session, client, tenant or signing key, or all of a subject",
    description: """
      Revokes one thing on all nodes of the cluster. With --wait it prints a receipt and fails unless all live nodes go by
      it. A key of the configuration is named CONSUMER/KEY. What cannot be used any more after a moment need not stay revoked
      beyond it: --expires. Moments are written like 2026-12-24T18:00:00Z, or as a duration from now: 1h. \(AdminClient.note)
      """,
    options: [
      Option("--key", value: "ID", "an API key"), Option("--jti", value: "ID", "one token"),
      Option("--subject", value: "ID", "all tokens and keys that a subject, or consumer, was given"),
      Option("--client", value: "ID", "a client"), Option("--session", value: "ID", "a session"),
      Option("--tenant", value: "ID", "a tenant with all its consumers"),
      Option("--signing-key", value: "KID", "all tokens that are signed with a key"),
      Option("--issued-before", value: "MOMENT", "--subject: only what was given before; left out, now"),
      Option("--expires", value: "MOMENT", "until when; left out, for good"), Option("--reason", value: "TEXT", "why"),
      Option("--wait", "wait up to 3s until all nodes go by it; a duration behind it waits so long"),
      AdminClient.option, Option("--json", nil, "the node's answer as it is"),
    ],
    examples: [
      "sluice revoke --key 4fT0aZ81bQ --reason leaked --wait",
      "sluice revoke --subject alice --issued-before 1h --wait 5s",
    ]
  ) { arguments throws(UsageError) in
    let named = kinds.filter { arguments.has("--\($0)") }
    guard named.count == 1, let id = arguments.value("--\(named[0])") else {
      throw UsageError("revoke takes one of \(kinds.map { "--\($0)" }.joined(separator: ", "))")
    }
    guard !arguments.has("--issued-before") || named[0] == "subject" else {
      throw UsageError("--issued-before goes with --subject; other things are revoked whole")
    }
    guard arguments.operands.isEmpty || arguments.operands.count == 1 && arguments.has("--wait") else {
      throw UsageError("revoke takes no operand; name what is revoked by an option")
    }
    let wait = arguments.has("--wait") ? arguments.operands.first ?? FactCommand.usualWait : nil
    let command = try FactCommand("revoke", arguments, wait: wait)
    var body = FactObject()
    body.add("kind", named[0])
    body.add("id", id)
    body.add("expires", try FactMoment.text(arguments.value("--expires"), "--expires"))
    body.add("issuedBefore", try FactMoment.text(arguments.value("--issued-before"), "--issued-before", isPast: true))
    body.add("reason", arguments.value("--reason"))
    return command.run(.post, "/v1/revocations", body) { _ in "\(named[0]) \(id) is revoked\n" }
  }
}
