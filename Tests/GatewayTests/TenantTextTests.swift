import Core
import Testing

@testable import Gateway

private func text(_ text: String) throws -> TenantText { try TenantText(Array(text.utf8)) }

private func string(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

/// A route of acme's as a tenant's operator writes it.
private func objects(_ document: String) throws -> [TenantObject] {
  try TenantText(text(document).marked(with: "acme")).objects(of: "acme")
}

@Suite("Tenant text")
struct TenantTextTests {
  static let whole = """
    // A file with two tenants.
    {
      listeners: ["127.0.0.1:80"], /* the node's own */
      routes: [
        // everybody's
        { id: "a", match: {} }, // at the end of its line
        { id: "b", tenant: "acme", match: { path: "/b" } },
        // of globex
        { id: "c", tenant: "globex", match: {} } // no comma
      ],
      upstreams: { one: { endpoints: [] }, "t\\u0077o": { "ten\\u0061nt": "acme", endpoints: [] }, },
      consumers: [],
      policies: { sso: { type: "oidc-login", tenant: "acme" } }
    }
    // the end
    """

  @Test(
    "a document that has more than a tenant's objects, or not those, is refused",
    arguments: [
      ("[]", TenantTextFault.shape("the configuration")), ("{ node: {} }", .section("node")),
      ("{ tenants: [] }", .section("tenants")), ("{ routes: {} }", .shape("routes")),
      ("{ upstreams: [] }", .shape("upstreams")), ("{ policies: null }", .shape("policies")),
      ("{ routes: [\"a\"] }", .shape("routes: ")), ("{ upstreams: { a: 1 } }", .shape("upstreams: a")),
      ("{ routes: [{ id: \"a\", tenant: \"globex\" }] }", .mark(.routes, "a")),
      ("{ routes: [{ id: \"a\", tenant: { env: \"X\" } }] }", .mark(.routes, "a")),
      ("{ routes: [{ id: \"a\", tenant: null }] }", .mark(.routes, "a")),
      ("{ policies: { a: { type: \"oidc-login\", tenant: \"acme\" } } }", .kind("a")),
      ("{ policies: { a: { type: \"oauth2-introspection\" } } }", .kind("a")),
    ])
  func refuses(document: String, fault: TenantTextFault) {
    #expect(throws: fault) { try text(document).marked(with: "acme") }
  }

  @Test(
    "an id that does not stand there as it is, or is no plain name, is refused: names are compared as they stand there",
    arguments: ["routes", "consumers"],
    [
      "id: { env: \"X\" }", "id: { file: \"/etc/hostname\" }", "id: { \"\\u0065nv\": \"X\" }", "id: 1", "id: null",
      "id: [\"a\"]", "id: \"\"", "id: \"a b\"", "id: \"a/b\"", "id: \"\\u00e4\"", "id: \".a\"", "match: {}",
    ])
  func refusesNames(section: String, id: String) {
    // Neither a mark of the tenant nor a good object before it lets it pass.
    for object in ["{ \(id) }", "{ tenant: \"acme\", \(id) }", "{ id: \"a\" }, { \(id) }"] {
      #expect(throws: TenantTextFault.shape("\(section): an id that is no plain name")) {
        try text("{ \(section): [\(object)] }").marked(with: "acme")
      }
    }
  }

  @Test("an id may be written with escapes, and is compared as what it says")
  func escapedNames() throws {
    let found = try objects("{ routes: [{ \"i\\u0064\": \"\\u0061-b\" }], consumers: [{ id: \"c\\u002ed\" }] }")
    #expect(found.map(\.name) == ["c.d", "a-b"])
  }

  @Test(
    "text that is broken, or says something twice, is refused",
    arguments: [
      "", "{", "{ routes: [ }", "{ routes: [], routes: [] }",
      "{ routes: [{ id: \"a\", tenant: \"acme\", tenant: \"b\" }] }",
      "{ routes: [{ id: \"a\", tenant: \"acme\", \"ten\\u0061nt\": \"b\" }] }", "{ } }",
    ])
  func refusesBroken(document: String) {
    #expect(throws: TenantTextFault.self) { try text(document).marked(with: "acme") }
  }

  @Test("a tenant's objects are found by their marks, as they stand there")
  func finds() throws {
    let found = try text(Self.whole).objects(of: "acme")
    #expect(found.map(\.name) == ["two", "b"])
    #expect(string(found[1].text) == "{ id: \"b\", tenant: \"acme\", match: { path: \"/b\" } }")
    #expect(try text(Self.whole).objects(of: "initech") == [])
    #expect(try text(Self.whole).otherNames(in: .routes, than: "acme") == ["a", "c"])
    #expect(try text(Self.whole).otherNames(in: .policies, than: "acme") == ["sso"])
  }

  @Test("what is not the tenant's stays byte for byte when its objects are taken out")
  func removes() throws {
    let expected = Self.whole
      .replacing("\n    { id: \"b\", tenant: \"acme\", match: { path: \"/b\" } },", with: "")
      .replacing(" \"t\\u0077o\": { \"ten\\u0061nt\": \"acme\", endpoints: [] },", with: "")
    #expect(string(try text(Self.whole).replacing(objectsOf: "acme", with: [])) == expected)
  }

  @Test("objects are put in behind all others, whatever ends the text there, and come out again alike")
  func puts() throws {
    let fresh = try objects("{ routes: [{ id: \"n\", /* mine */ match: {}, }], consumers: [{ id: \"p\" }] }")
    let made = try text(Self.whole).replacing(objectsOf: "acme", with: fresh)
    let again = try TenantText(made)
    #expect(try again.objects(of: "acme") == fresh)
    #expect(try again.otherNames(in: .routes, than: "acme") == ["a", "c"])
    let comments = ["// A file", "the node's own */", "// everybody's", "// at the end", "// of globex", "// no comma"]
    for comment in comments { #expect(string(made).contains(comment)) }
    #expect(string(fresh[1].text) == "{ id: \"n\", /* mine */ match: {}, \"tenant\":\"acme\", }")
    // The second time nothing moves any more.
    #expect(try again.replacing(objectsOf: "acme", with: fresh) == made)
    #expect(string(try again.replacing(objectsOf: "acme", with: [])).contains("{ id: \"c\""))
  }

  @Test(
    "a comment never takes in what stood behind an object, and nothing is lost",
    arguments: [
      "{ routes: [ // c\n { id: \"b\", tenant: \"acme\" }, { id: \"a\" } ] }",
      "{ routes: [ // c\n { id: \"b\", tenant: \"acme\" } // d\n , { id: \"a\" } ] }",
      "{ routes: [ { id: \"a\" } // c\n ] }", "{ routes: [ { id: \"a\" } /* c */ ] }",
      "{ routes: [{ id: \"a\" }] // c\n }", "{ routes: [{ id: \"a\" }, { id: \"b\", tenant: \"acme\" }] }",
      "{ routes: [{id:\"a\"},{id:\"b\",tenant:\"acme\"},] }",
      "{ routes: [\r\n  { id: \"a\" },\r\n  { id: \"b\", tenant: \"acme\" },\r\n] }", "{ routes: [{ id: \"a\" }]}// c",
    ])
  func comments(whole: String) throws {
    let fresh = try objects("{ upstreams: { u: { endpoints: [] } }, routes: [{ id: \"n\" }, { id: \"m\" }] }")
    let made = try TenantText(text(whole).replacing(objectsOf: "acme", with: fresh))
    #expect(try made.objects(of: "acme") == fresh)
    #expect(try made.otherNames(in: .routes, than: "acme") == ["a"])
    let without = try TenantText(made.replacing(objectsOf: "acme", with: []))
    #expect(try without.otherNames(in: .routes, than: "acme") == ["a"])
    #expect(try without.objects(of: "acme") == [])
  }

  @Test(
    "sections that are missing or empty are filled",
    arguments: ["{}", "{ }", "{ routes: [] }", "{ routes: [ ], upstreams: {} }", "// a\n{\n  // b\n}", "{ a: 1, }"])
  func fills(whole: String) throws {
    let fresh = try objects("{ upstreams: { \"a \\\" b\": {} }, policies: { p: { } }, routes: [{ id: \"n\" }] }")
    let made = try TenantText(text(whole).replacing(objectsOf: "acme", with: fresh))
    #expect(try made.objects(of: "acme") == fresh)
    #expect(fresh.map(\.name) == ["a \" b", "p", "n"])
  }

  @Test("a text does not grow when the same is put in again and again")
  func stable() throws {
    let fresh = try objects("{ upstreams: { u: {} }, routes: [{ id: \"n\" }] }")
    var whole = Array("{ routes: [] }".utf8)
    var sizes: [Int] = []
    for _ in 0..<5 {
      whole = try TenantText(whole).replacing(objectsOf: "acme", with: fresh)
      sizes.append(whole.count)
      whole = try TenantText(whole).replacing(objectsOf: "acme", with: [])
    }
    #expect(Set(sizes.dropFirst()).count == 1)
  }

  @Test("what a document says of a tenant can be read back as what it was made of")
  func documents() throws {
    let fresh = try objects(
      "{ upstreams: { \"q\\\"\": { a: 1 } }, consumers: [{ id: \"c\" }], routes: [{ id: \"n\" }] }")
    #expect(try TenantText(TenantText.document(fresh)).objects(of: "acme") == fresh)
    #expect(string(TenantText.document([])) == "{\n}\n")
  }
}
