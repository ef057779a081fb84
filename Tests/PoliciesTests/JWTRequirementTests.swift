import Core
import Pipeline
import Policies
import Testing

@Suite("jwt, what a token must say")
struct JWTRequirementTests {
  private func bench(_ issuer: TestIssuer, _ options: String, of more: String) throws -> Bench {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"jwt\", issuers: [\(issuer.options(more))]\(options) }") == [])
    return bench
  }

  @Test(
    "A token for which the rule of its issuer does not hold is refused",
    arguments: [
      "", "\"org\":\"acme\",\"scope\":\"read\"", "\"org\":\"acme\",\"scope\":\"readwrite\",\"tier\":2",
      "\"org\":\"other\",\"scope\":\"write\",\"tier\":2", "\"org\":\"acme\",\"scope\":\"write\",\"tier\":\"2\"",
    ])
  func required(claims: String) throws {
    let issuer = try TestIssuer()
    for cache in ["", ", cache: false"] {
      let rule = "scope contains 'write' and claim.org == 'acme' and claim.tier > 1"
      let bench = try bench(issuer, cache, of: ", require: \"\(rule)\"")
      let token = try issuer.token(claims)
      for _ in 0..<2 {
        let outcome = bench.send(bearing(token))
        #expect(outcome.verdict == "403" && outcome.code == "access-denied")
      }
      let good = try issuer.token("\"org\":\"acme\",\"scope\":\"write\",\"tier\":2")
      #expect(bench.send(bearing(good)).verdict == "next")
    }
  }

  @Test(
    "A rule of an issuer asks for nothing but what tokens say",
    arguments: [
      "method == 'GET'", "consumer == 'a'", "authenticated", "claim.org == consumer",
      "role in ['a'] or time in '00:00-01:00'",
    ])
  func requiredOfTokens(rule: String) throws {
    let issuer = try TestIssuer()
    let made = make("{ type: \"jwt\", issuers: [\(issuer.options(", require: \"\(rule)\""))] }")
    #expect(made.remarks.contains { $0.contains("require") }, "\(made.remarks)")
  }
}
