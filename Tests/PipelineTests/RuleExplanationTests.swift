import Core
import Pipeline
import Testing

@Suite("RuleExplanation")
struct RuleExplanationTests {
  private static let caller = RuleCase.claims(
    #"{"org": "globex", "level": 2, "list": ["a"], "o": {"a": 1}}"#, tenant: "acme")

  @Test(
    "A refusal has a reason in one line",
    arguments: [
      ("claim.org == 'acme'", "claim.org is \"globex\", the rule wants 'acme'"),
      ("claim.org == tenant", "claim.org is \"globex\", the rule wants tenant, which is \"acme\""),
      ("claim.team == 'a'", "claim.team is absent, the rule wants 'a'"),
      ("claim.team == client", "claim.team is absent, the rule wants client, which is absent"),
      ("role in ['admin', 'ops']", "role is absent, the rule wants one of ['admin', 'ops']"),
      ("claim.level >= 3 and method == 'POST'", "claim.level is 2, the rule wants at least 3"),
      (
        "method == 'POST' or path matches '/x/*'",
        "method is \"GET\", the rule wants 'POST'; path is \"/\", the rule wants a match of '/x/*'"
      ),
      ("not claim.org == 'globex'", "claim.org is \"globex\", and the rule excludes `claim.org == 'globex'`"),
      ("tenant not in ['acme']", "tenant is \"acme\", the rule wants none of ['acme']"),
      ("has claim.x", "claim.x is absent, the rule wants it to be there"),
      ("address in ['10.0.0.0/8']", "address is 192.0.2.7, the rule wants one of ['10.0.0.0/8']"),
      ("time in '18:00-19:00'", "time is 12:30 in UTC, the rule wants '18:00-19:00'"),
      ("weekday == 'sun'", "weekday is wed, the rule wants 'sun'"),
      ("claim.o == 'a'", "claim.o is {\"a\": 1}, the rule wants 'a'"),
    ])
  func reasons(rule: String, reason: String) throws {
    let explanation = try Self.caller.explain(rule)
    #expect(!explanation.holds)
    #expect(explanation.reason == reason)
  }

  @Test("A rule that needs somebody says that nobody is there")
  func nobody() throws {
    #expect(
      try RuleCase().explain("authenticated").reason
        == "nobody is identified, the rule wants somebody who is identified")
  }

  @Test("Every term is told, also those behind the decisive one")
  func terms() throws {
    let explanation = try Self.caller.explain("claim.org == 'acme'\n and (method == 'GET' or has role)")
    #expect(explanation.terms.map(\.text) == ["claim.org == 'acme'", "method == 'GET'", "has role"])
    #expect(explanation.terms.map(\.found) == ["\"globex\"", "\"GET\"", nil])
    #expect(explanation.terms.map(\.holds) == [false, true, false])
    #expect(explanation.terms.map(\.isDecisive) == [true, false, false])
  }

  @Test("A rule that holds says by what")
  func holding() throws {
    let explanation = try Self.caller.explain("claim.org == 'x' or tenant == 'acme' and not has role")
    #expect(explanation.holds)
    #expect(explanation.reason == "tenant is \"acme\", as the rule wants; role is absent, as the rule wants")
  }

  @Test("What was found is cut to 64 bytes, and holds no control characters")
  func cut() throws {
    let long = RuleCase.claims("{\"a\": \"\(String(repeating: "ü", count: 100))\", \"b\":\n[1,\n2]}")
    let found = try long.explain("claim.a == 'x'").terms[0].found ?? ""
    #expect(found.utf8.count <= RuleExplanation.foundBytes && found.hasSuffix("ü…"))
    #expect(try long.explain("claim.b == 'x'").terms[0].found == "[1, 2]")
  }

  @Test("Of many reasons four are told")
  func many() throws {
    let rule = (0..<6).map { "claim.c\($0) == 'x'" }.joined(separator: " or ")
    #expect(try RuleCase().explain(rule).reason.hasSuffix("claim.c3 is absent, the rule wants 'x'; and 2 more"))
  }

  @Test(
    "Blame names the scopes that are missing, and whether the caller matters at all",
    arguments: [
      ("scope contains 'a' and method == 'GET'", true, ["a"]), ("method == 'PUT' and scope contains 'a'", false, []),
      ("scope contains all ['a', 'b'] or role in ['x']", true, ["a", "b"]), ("not scope contains 's'", true, []),
      ("scope not in ['s']", true, []), ("scope contains 's' and scope in ['c', 'a']", true, ["c"]),
    ])
  func blame(rule: String, isAboutCaller: Bool, scopes: [String]) throws {
    let caller = RuleCase(identity: RuleCase.identity(scopes: ["s"]))
    #expect(try !caller.holds(rule))
    let blame = try caller.blame(rule)
    #expect(blame == RuleBlame(isAboutCaller: isAboutCaller, missingScopes: scopes))
  }
}
