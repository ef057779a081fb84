import Core
import Gateway
import Net
import Testing

@testable import Commands

@Suite("sluice inspect")
struct InspectTests {
  private static let text = """
    { listeners: [{ address: "127.0.0.1:1" }], store: "redis://127.0.0.1:1", cluster: { name: "c", secret: "0123456789abcdef" },
      consumers: [
        { id: "app", groups: ["gold"], keys: [{ id: "a", sha256: "\(digits("1"))" }, { id: "b", sha256: "\(digits("2"))" }] },
        { id: "other", keys: [{ id: "c", sha256: "\(digits("3"))" }] } ],
      policies: {
        fair: { type: "rate-limit", limits: [{ per: "consumer", window: "5/1m" }, { per: "key", rate: "1/s" },
                                             { per: "ip", window: "9/1m" }] },
        gold: { type: "api-key", groups: ["gold"] } },
      routes: [
        { id: "one", match: { path: "/1" }, policies: ["gold", "fair", { type: "respond", status: 200 }] },
        { id: "two", match: { path: "/2" }, policies: ["gold", "fair", { type: "respond", status: 200 }] },
        { id: "open", match: { path: "/3" },
          policies: [{ type: "rate-limit", limits: [{ per: "route", window: "7/1m" }] }, { type: "respond", status: 200 }] } ] }
    """

  private static func digits(_ digit: String) -> String { String(repeating: digit, count: 64) }

  private func survey(_ words: String...) throws -> InspectSurvey {
    let (blueprint, diagnostics) = Blueprint.read(text: Array(Self.text.utf8)) { _ in .success("") }
    return try InspectSurvey(
      #require(blueprint, "\(diagnostics)"), Arguments(words, options: Verb.inspect.options))
  }

  /// Limits with the key they are of, and their routes.
  private func counters(_ survey: inout InspectSurvey) throws -> [String] {
    let levels = survey.levels(try EventLoop(), at: WallTime(microseconds: 1_790_000_000_000_000))
    #expect(levels.count == survey.entries.count)
    return survey.entries.map {
      "\($0.outline.name)\($0.key.map { "/" + $0 } ?? "") \($0.routes.joined(separator: ","))"
    }
  }

  @Test("Each counter stands once, with all its routes; what is not known is named")
  func once() throws {
    var survey = try survey("--consumer", "app")
    #expect(try counters(&survey) == ["consumer one,two", "key/a one,two", "key/b one,two", "route open"])
    #expect(survey.unknown.map(\.name) == ["ip"])
  }

  @Test("A route, a key and an address narrow and widen it; who is not let in has no counters there")
  func narrower() throws {
    var narrow = try survey("--consumer", "app", "--key", "b", "--route", "two", "--ip", "10.0.0.1")
    #expect(try counters(&narrow) == ["consumer two", "key/b two", "ip two"])
    #expect(narrow.unknown.isEmpty)
    var other = try survey("--consumer", "other")
    #expect(try counters(&other) == ["route open"])
    var nobody = try survey("--route", "one")
    #expect(try counters(&nobody) == [])
  }

  @Test(
    "Names that the file does not have are wrong usage",
    arguments: [
      ["--consumer", "app2"], ["--consumer", "app", "--key", "z"], ["--route", "three"],
      ["--route", "one", "--ip", "somewhere"],
    ])
  func names(words: [String]) {
    #expect(throws: UsageError.self) {
      let blueprint = Blueprint.read(text: Array(Self.text.utf8)) { _ in .success("") }.blueprint!
      _ = try InspectSurvey(blueprint, Arguments(words, options: Verb.inspect.options))
    }
  }
}
