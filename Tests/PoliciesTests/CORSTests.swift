import Core
import Pipeline
import Policies
import Testing

@testable import Policies

@Suite("cors")
struct CORSTests {
  func bench(_ options: String) throws -> Bench {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"cors\", \(options) }", "{ type: \"api-key\" }") == [])
    return bench
  }

  func preflight(_ origin: String, _ method: String = "PUT", _ fields: String = "") -> String {
    let asked = fields.isEmpty ? "" : "\nAccess-Control-Request-Headers: \(fields)"
    return "OPTIONS /x HTTP/1.1\nHost: a\nOrigin: \(origin)\nAccess-Control-Request-Method: \(method)\(asked)"
  }

  let options =
    "origins: [\"https://app.example.com\", \"https://*.dev.example.com\"], methods: [\"GET\", \"PUT\"], headers: [\"X-A\", \"Content-Type\"], exposedHeaders: [\"X-B\"], credentials: true, maxAge: \"1h\""

  @Test(
    "A preflight of another origin, method or field is refused",
    arguments: [
      ("https://evil.com", "PUT", ""), ("null", "PUT", ""), ("https://app.example.com.evil.com", "PUT", ""),
      ("https://dev.example.com", "PUT", ""), ("https://evil.com/.dev.example.com", "PUT", ""),
      ("http://app.example.com", "PUT", ""), ("https://app.example.com", "DELETE", ""),
      ("https://app.example.com", "put", ""), ("https://app.example.com", "PUT", "x-a, x-c"),
      ("https://.dev.example.com", "PUT", ""),
    ])
  func refused(origin: String, method: String, fields: String) throws {
    let outcome = try bench(options).send(preflight(origin, method, fields))
    #expect(outcome.verdict == "403" && outcome.code == "origin-denied")
    #expect(!outcome.responseFields.contains("Access-Control-Allow-Origin"))
    #expect(outcome.responseFields == "Vary: Origin\r\n")
  }

  @Test("An allowed preflight is answered before any key is asked for")
  func preflightAnswer() throws {
    let outcome = try bench(options).send(preflight("https://app.example.com", "PUT", "x-a , content-type"))
    #expect(outcome.verdict == "204")
    #expect(
      outcome.responseFields
        == "Vary: Origin\r\nAccess-Control-Allow-Origin: https://app.example.com\r\nAccess-Control-Allow-Credentials: true\r\n"
        + "Access-Control-Allow-Methods: GET, PUT\r\nAccess-Control-Max-Age: 3600\r\nAccess-Control-Allow-Headers: X-A, Content-Type\r\n"
    )
  }

  @Test("Other requests pass on to the next policy, and refusals can be read by an allowed page")
  func actual() throws {
    let bench = try bench(options)
    let other = bench.send("GET / HTTP/1.1\nHost: a\nOrigin: https://evil.com")
    #expect(other.verdict == "401" && !other.responseFields.contains("Access-Control"))
    let outcome = bench.send("GET / HTTP/1.1\nHost: a\nOrigin: https://x.dev.example.com")
    #expect(outcome.verdict == "401")
    #expect(
      outcome.responseFields.hasPrefix(
        "Vary: Origin\r\nAccess-Control-Allow-Origin: https://x.dev.example.com\r\nAccess-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-B\r\n"
      ))
    #expect(bench.send("OPTIONS / HTTP/1.1\nHost: a\nOrigin: https://app.example.com").verdict == "401")
  }

  @Test("For everybody the answer depends on nothing, and any field may be asked for")
  func everybody() throws {
    let bench = try bench("origins: [\"*\"], headers: [\"*\"]")
    let outcome = bench.send(preflight("null", "POST", "X-Any, Y"))
    #expect(outcome.verdict == "204")
    #expect(outcome.responseFields.hasPrefix("Access-Control-Allow-Origin: *\r\n"))
    #expect(outcome.responseFields.contains("Access-Control-Allow-Headers: X-Any, Y\r\n"))
    #expect(!outcome.responseFields.contains("Vary: Origin"))
  }

  @Test("What the upstream says about CORS is dropped, its Vary stays")
  func response() throws {
    let names = try bench(options).respond(
      "HTTP/1.1 200 OK\nAccess-Control-Allow-Origin: *\nVary: Accept\nAccess-Control-Allow-Credentials: true\nX-B: 1")
    #expect(names == ["vary", "x-b"])
  }

  @Test("Credentials for every origin, and texts that are no origins, are refused")
  func wrong() {
    #expect(
      make("{ type: \"cors\", origins: [\"*\"], credentials: true }").remarks
        == ["origins: with credentials every origin would be trusted with its users' sessions"])
    for text in ["app.example.com", "https://", "https://a/b", "https://a*.b", "https://*"] {
      #expect(
        make("{ type: \"cors\", origins: [\"\(text)\"] }").remarks == ["origins[0]: \"\(text)\" is not an origin"])
    }
  }
}
