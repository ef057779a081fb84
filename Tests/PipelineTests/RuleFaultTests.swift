import Core
import Pipeline
import Testing

@Suite("RuleFault")
struct RuleFaultTests {
  @Test(
    "What is wrong is said with its column and what to do",
    arguments: [
      ("", "1: there is no rule; write one, or `authenticated`"),
      ("scop contains 'a'", "1: there is no fact `scop`; did you mean `scope`?"),
      ("authenticated and rol in ['a']", "19: there is no fact `rol`; did you mean `role`?"),
      ("claims.a == 'x'", "1: there is no fact `claims`; did you mean `claim`?"),
      ("role = 'a'", "6: there is no `=`; write `==`"),
      ("role == 'a'", "1: `role` is a set, and equals no single text; write `contains`"),
      ("tenant contain 'a'", "8: an operator should be here, not `contain`; did you mean `contains`?"),
      ("tenant contains 'a'", "1: `contains` does not go with `tenant`; write `==`, `!=`, `in` or `not in`"),
      ("tenant in 'a'", "11: a list should be here; put it in [ ], or write `==` or `contains`"),
      ("tenant == ['a']", "11: `==` takes one value, not a list; write `in`"),
      ("tenant == 5", "11: `tenant` is compared with texts; put it in quotation marks"),
      (
        "tenant == acme",
        "11: there is no fact `acme`; there are role, group, scope, tenant, consumer, subject, issuer, client, claim, method, path, host, route, address, time, weekday, authenticated"
      ),
      ("authenticated && has role", "15: there is no `&&`; write `and`"),
      ("!authenticated", "1: there is no `!`; write `not`"),
      ("authenticated AND has role", "15: `AND` cannot follow a term; did you mean \"and\"?"),
      ("(authenticated", "1: this bracket is never closed; add `)`"),
      ("authenticated)", "14: nothing was opened that `)` could close; remove it"),
      ("role in ['a' 'b']", "14: a text cannot stand in a list; write `,` or `]`"),
      ("role in ['a'", "9: this list is never closed; add `]`"),
      ("role in []", "9: this list is empty; add at least one entry"),
      ("tenant == 'a", "11: this text has no end; add ' behind it"),
      ("tenant == 'a\\n'", "13: this backslash means nothing; write \\\\ for a backslash"),
      ("claim == 'a'", "1: `claim` needs a name; write `claim.name`, or `claim.\"https://…\"`"),
      ("claim. == 'a'", "7: a claim's name should be here; write it behind the point, in quotation marks if need be"),
      ("role.a in ['a']", "1: `role` has no parts; write `role` alone"),
      ("claim.a < 'b'", "11: `<` compares numbers; write a number without quotation marks"),
      ("claim.a in ['b', 1]", "18: the entries of a list are of one kind; write numbers only, or texts only"),
      ("claim.a == 99999999999999999", "12: this number is too large or too long; write one up to 9007199254740992"),
      ("claim.a == 1.", "12: this is no number; write digits as in 3 or -1.5, or a text in quotation marks"),
      ("method == 'get'", "11: methods are written in capitals; write \"GET\""),
      (
        "address in ['10.0.0.1/8']",
        "13: \"10.0.0.1/8\" is none of what `address` can be; write an address or a network such as \"10.0.0.0/8\""
      ),
      ("time in '8-18'", "9: \"8-18\" is none of what `time` can be; write a part of the day such as \"08:00-18:00\""),
      (
        "weekday in ['Monday']",
        "13: \"Monday\" is none of what `weekday` can be; write a day or some, such as \"mon\" or \"mon-fri\""
      ),
      ("path == '/a/*'", "9: `*` and `{name}` mean something in patterns only; write `matches`"),
      (
        "path matches '/a*'",
        "14: `*` stands for the rest of a path, `{name}` for one segment; write a whole segment, with `*` at the end alone"
      ),
      ("path matches 'a'", "14: a path begins with a slash; write \"/…\""),
      (
        "host == '*.a.b'",
        "9: \"*.a.b\" is none of what `host` can be; write a host without port, or `matches` for \"*.…\""
      ),
      ("has method", "5: `has` does not go with `method`, which is always there; compare it with something"),
      ("path == tenant", "9: a value should be here, not another fact; write a text in quotation marks"),
      ("tenant == tenant", "11: it is compared with itself; compare it with something else"),
      (
        "tenant == role",
        "11: `role` is no text to compare with; write tenant, consumer, subject, issuer, client, route or a claim"
      ),
      ("tenant not == 'a'", "12: `not` here goes with `in` only; write `not in`, or put `not` in front of the term"),
      ("tenant", "7: an operator should be here, not the end; write `==`, `!=`, `in` or `not in`"),
      (
        "'a' == tenant",
        "1: a fact should be here, not a text; write one of role, group, scope, tenant, consumer, subject, issuer, client, claim, method, path, host, route, address, time, weekday, authenticated"
      ),
      ("tenant == 'ü' und role", "15: `und` cannot follow a term; did you mean \"and\"?"),
      (
        "tenant == \u{1}",
        "11: a control character has no meaning here; put texts in quotation marks, and remove it elsewhere"
      ),
    ])
  func faults(text: String, expected: String) {
    #expect(fault(text) == expected)
  }

  @Test("A rule of 4 KiB is read, a longer one is not")
  func length() {
    let rule = "tenant == '\(String(repeating: "a", count: AccessRule.textBytes - 12))'"
    #expect(fault(rule + " ")?.hasPrefix("1: a rule has at most 4096 bytes") == true)
    #expect(fault(rule) == nil)
  }

  @Test("A rule has 64 terms and no more")
  func terms() {
    func rule(_ count: Int) -> String { Array(repeating: "authenticated", count: count).joined(separator: " or ") }
    #expect(fault(rule(65))?.contains("a rule has at most 64 terms") == true)
    #expect(fault(rule(64)) == nil)
  }

  @Test("A list has 256 entries and no more")
  func lists() {
    func rule(_ count: Int) -> String { "claim.a in [\(Array(repeating: "1", count: count).joined(separator: ","))]" }
    #expect(fault(rule(257))?.contains("a list has at most 256 entries") == true)
    #expect(fault(rule(256)) == nil)
  }

  @Test("Brackets and `not` are nested 16 deep and no deeper")
  func nesting() {
    func rule(_ count: Int, _ open: String, _ close: String) -> String {
      String(repeating: open, count: count) + "authenticated" + String(repeating: close, count: count)
    }
    for (open, close) in [("(", ")"), ("not ", "")] {
      #expect(fault(rule(17, open, close))?.contains("nested more than 16 deep") == true)
      #expect(fault(rule(16, open, close)) == nil)
    }
  }

  @Test("The way to a claim has 8 names and no more")
  func claimDepth() {
    #expect(fault("has claim.a.b.c.d.e.f.g.h.i")?.contains("at most 8 objects deep") == true)
    #expect(fault("has claim.a.b.c.d.e.f.g.h") == nil)
  }

  @Test("A rule may stand on several lines, and end its lists with a comma")
  func blanks() {
    #expect(fault("role in [\n  'admin',\n  \"ops\",\n]\n\tand(authenticated)\r\n") == nil)
  }
}
