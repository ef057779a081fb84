import Core
import Pipeline
import Testing

@Suite("AccessRule")
struct RuleEvaluationTests {
  private static let admin = RuleCase(
    identity: RuleCase.identity(
      issuer: "https://i", subject: "u1", client: "c1", tenant: "acme", roles: ["user", "admin"], groups: ["staff"],
      scopes: ["orders:read", "orders:write"]))

  @Test(
    "Nothing about nobody holds, whichever way it is asked",
    arguments: [
      "authenticated", "has tenant", "role in ['a']", "role not in ['a']", "scope contains 'a'",
      "scope contains all ['a']",
      "group not in ['a']", "tenant == 'a'", "tenant != 'a'", "tenant not in ['a']", "claim.a == 'a'", "claim.a != 'a'",
      "claim.a != 1", "claim.a != true", "claim.a not in [1]", "claim.a < 1", "claim.a >= 1", "has claim.a",
      "subject != client", "consumer != 'a'", "claim.a == claim.b", "claim.a != claim.b", "issuer != 'a'",
    ])
  func nobody(rule: String) throws {
    #expect(try !RuleCase().holds(rule))
    #expect(try RuleCase().holds("not (\(rule))"))
  }

  @Test(
    "A caller who lacks what is asked about gains nothing by it",
    arguments: [
      "role not in ['a']", "group not in ['a']", "scope not in ['a']", "tenant != 'a'", "client not in ['a']",
      "claim.none != 'a'", "claim.null != 'a'", "claim.empty not in ['a']", "claim.object != 'a'", "has claim.empty",
      "has claim.null", "has claim.text.more", "tenant != subject", "claim.none != claim.text",
      "claim.text != claim.none",
    ])
  func absent(rule: String) throws {
    let caller = RuleCase.claims(#"{"null": null, "empty": [], "object": {"a": 1}, "text": "t"}"#)
    #expect(try !caller.holds(rule))
  }

  @Test(
    "A claim of another kind is neither equal nor different",
    arguments: [
      "claim.text == 1", "claim.text != 1", "claim.one == '1'", "claim.one != '1'", "claim.yes == 'true'",
      "claim.yes != 'true'", "claim.text == true", "claim.text != true", "claim.text < 2", "claim.list == 'a'",
      "claim.list != 'x'", "claim.mixed not in ['x']", "claim.mixed not in [7]", "claim.one in ['1']",
      "claim.text contains claim.list", "claim.one == claim.one2",
    ])
  func kinds(rule: String) throws {
    let caller = RuleCase.claims(
      #"{"text": "1", "one": 1, "one2": 1, "yes": true, "list": ["a", "b"], "mixed": ["a", 1]}"#)
    #expect(try !caller.holds(rule))
  }

  @Test(
    "Claims are compared by what they hold",
    arguments: [
      ("claim.org == 'acme'", true), ("claim.org == 'acm'", false), ("claim.org == 'Acme'", false),
      ("claim.org != 'globex'", true), ("claim.org != 'acme'", false), ("claim.org in ['globex', 'acme']", true),
      ("claim.org not in ['globex']", true), ("claim.org not in ['globex', 'acme']", false),
      ("claim.org contains 'acme'", true), ("claim.org contains 'acm'", false),
      ("claim.groups in ['x', 'long group name']", true), ("claim.groups in ['x']", false),
      ("claim.groups not in ['x']", true), ("claim.groups not in ['a']", false), ("claim.groups contains 'a'", true),
      ("claim.groups contains all ['a', 'long group name']", true), ("claim.groups contains all ['a', 'x']", false),
      ("claim.level == 5", true), ("claim.level == 5.0", true), ("claim.level != 5", false), ("claim.level < 5", false),
      ("claim.level <= 5", true), ("claim.level > 4.5", true), ("claim.level >= 6", false),
      ("claim.level in [1, 5]", true),
      ("claim.level not in [1, 5]", false), ("claim.ratio == -1.5", true), ("claim.big == 9007199254740992", false),
      ("claim.numbers in [2]", true), ("claim.numbers not in [3]", true), ("claim.numbers not in [1]", false),
      ("claim.ok == true", true), ("claim.ok == false", false), ("claim.ok != false", true),
      ("claim.deep.er.name == 'd'", true), ("claim.\"https://x/y\".z == 'q'", true), ("claim.'a.b' == 'dot'", true),
      ("claim.\"back\\\\slash\" == \"q\\\"q\"", true), ("claim.org == claim.deep.org", true),
      ("claim.groups contains claim.deep.group", true), ("claim.groups contains claim.org", false),
      ("has claim.deep", true), ("has claim.deep.none", false), ("claim.zero == ''", true),
    ])
  func claims(rule: String, holds: Bool) throws {
    let caller = RuleCase.claims(
      """
      {"org": "acme", "groups": ["a", "long group name"], "level": 5, "ratio": -1.5, "big": 9007199254740993,
       "numbers": [1, 2], "ok": true, "deep": {"er": {"name": "d"}, "org": "acme", "group": "a"}, "https:\\/\\/x\\/y": {"z": "q"},
       "a.b": "dot", "back\\\\slash": "q\\"q", "zero": ""}
      """)
    #expect(try caller.holds(rule) == holds)
  }

  @Test(
    "Texts that agree in their last eight bytes are told apart",
    arguments: [
      ("claim.t == 'xxxxorders:w'", false), ("claim.t == 'aaaaorders:w'", true),
      ("claim.t in ['orders:w', 'aaaaorders:w']", true),
      ("claim.t in ['rders:w', 'orders:w', 'baaaorders:w']", false), ("claim.s == 'abc'", true),
      ("claim.s == 'abcd'", false),
      ("claim.s == 'ab'", false), ("claim.f == 'abcde'", true), ("claim.f == 'abxcde'", false),
    ])
  func tails(rule: String, holds: Bool) throws {
    let caller = RuleCase.claims(#"{"t": "aaaaorders:w", "s": "abc", "f": "abcde"}"#)
    #expect(try caller.holds(rule) == holds)
  }

  @Test(
    "Sets hold one of a list, all of it, or none",
    arguments: [
      ("role in ['admin', 'ops']", true), ("role in ['ops']", false), ("role not in ['ops']", true),
      ("role not in ['ops', 'user']", false), ("scope contains 'orders:write'", true),
      ("scope contains 'orders'", false),
      ("scope contains all ['orders:read', 'orders:write']", true), ("scope contains all ['orders:read', 'x']", false),
      ("has role", true), ("group in ['staff']", true), ("tenant == 'acme'", true), ("tenant != 'acme'", false),
      ("subject in ['u1']", true), ("issuer == 'https://i'", true), ("client != 'c2'", true), ("has consumer", false),
      ("authenticated", true), ("role contains subject", false), ("tenant == subject", false),
      ("tenant != subject", true),
    ])
  func sets(rule: String, holds: Bool) throws {
    #expect(try Self.admin.holds(rule) == holds)
  }

  @Test("A consumer's tenant goes before the issuer's, and its groups count beside the issuer's")
  func consumers() throws {
    var both = Self.admin
    both.consumer = Consumer(id: "shop", tenant: "globex", groups: ["gold"])
    #expect(try both.holds("tenant == 'globex' and group contains all ['gold', 'staff'] and consumer == 'shop'"))
    both.consumer = Consumer(id: "shop")
    #expect(try both.holds("tenant == 'acme' and group not in ['gold'] and group in ['staff']"))
    let alone = RuleCase(consumer: Consumer(id: "shop", tenant: "globex", groups: ["gold"]))
    #expect(try alone.holds("authenticated and tenant == 'globex' and group in ['gold'] and not has role"))
    #expect(try !alone.holds("has issuer or has claim.sub"))
  }

  @Test(
    "`and` binds more tightly than `or`, `not` more tightly than both",
    arguments: [
      ("method == 'GET' or method == 'PUT' and path == '/x'", true),
      ("(method == 'GET' or method == 'PUT') and path == '/x'", false),
      ("not method == 'GET' or path == '/'", true), ("not (method == 'GET' or path == '/')", false),
      ("not not method == 'GET'", true), ("not method == 'GET' and path == '/'", false),
      ("method == 'GET' and not path == '/x' and (path == '/x' or host == 'api.example.com')", true),
    ])
  func precedence(rule: String, holds: Bool) throws {
    #expect(try RuleCase().holds(rule) == holds)
  }

  @Test("A rule walked by jumps comes to the same end as its tree, whatever holds")
  func jumps() throws {
    let names = ["a", "b", "c", "d", "e"]
    let shapes = [
      "A and B or C and not D or E", "not (A or B and not (C or D)) and E", "(A or B) and (C or D) and E",
      "not (not A and not (B or C)) or not (D and E)", "A and (B or (C and (D or E)))",
      "not A or not B or not C and (D or not E)",
    ]
    for shape in shapes {
      var text = shape
      for name in names { text = text.replacing(name.uppercased(), with: "claim.\(name) == true") }
      for bits in 0..<32 {
        let members = names.enumerated().map { "\"\($1)\": \(bits >> $0 & 1 == 1)" }.joined(separator: ", ")
        // `holds` compares both ways.
        _ = try RuleCase.claims("{\(members)}").holds(text)
      }
    }
  }
}
