import Testing

/// Each rule is shown a breach first: a tidy test that cannot fail would be worth nothing.
@Suite("Rules")
struct RuleTests {
  @Test(
    "An import upwards, sideways or from outside is a breach",
    arguments: [
      ("import Gateway\n", "Core"), ("import Pipeline\n", "Net"), ("import Net\n", "Net"),
      ("import Foundation\n", "Core"),
      ("public import Traffic\n", "Policies"), ("@preconcurrency import struct Admin.Page\n", "Gateway"),
      ("", "Kitchen"),
    ])
  func importBreach(text: String, room: String) {
    #expect(Rules.importBreaches(in: text, room: room).count == 1)
  }

  @Test("Imports downwards pass, and so does the word in a comment or a string")
  func importsPass() {
    let text =
      "import Core\nimport HTTP\nimport Synchronization\n// import Gateway\nlet a = \"\"\"\n  import Admin\n  \"\"\"\n"
    #expect(Rules.importBreaches(in: text, room: "Pipeline").isEmpty)
  }

  @Test("A file of 401 lines is too long, one of 400 is not")
  func fileLength() {
    let line = "let a = 1\n"
    #expect(Rules.lengthBreaches(in: String(repeating: line, count: 401)).count == 1)
    #expect(Rules.lengthBreaches(in: String(repeating: line, count: 400)).isEmpty)
  }

  @Test(
    "A function of 61 lines is too long, one of 60 is not",
    arguments: ["func run()", "init?(a: Int) throws(E)", "deinit"])
  func functionLength(head: String) {
    func text(_ lines: Int) -> String {
      "struct A {\n  \(head) {\n" + String(repeating: "    a(\"{\")\n", count: lines - 2) + "  }\n}\n"
    }
    #expect(Rules.lengthBreaches(in: text(61)).count == 1)
    #expect(Rules.lengthBreaches(in: text(60)).isEmpty)
  }

  @Test("A function's end is found behind braces in literals, interpolations and comments")
  func functionEnds() {
    let text = """
      func a(_ f: () -> Void = {}) -> [Int]
      where Int: Equatable {
        let b = "} \\(c { "}" }) {" // }
        return [1]
      }
      protocol P {
        func required()
        init(a: Int)
      }
      let x = self.init(a: 1)
      """
    #expect(SourceCode(text).functions == [.init(name: "a", line: 1, lineCount: 5)])
  }

  @Test(
    "A clock or a generator in code is a breach",
    arguments: [
      "let t = ContinuousClock.now", "clock_gettime(1, &t)", "Int.random(in: 0..<2)", "list.shuffled()", "Date()",
    ])
  func worldBreach(line: String) {
    #expect(!Rules.worldBreaches(in: line + "\n").isEmpty)
    #expect(Rules.worldBreaches(in: "// \(line)\n").isEmpty)
    #expect(Rules.worldBreaches(in: "let d = HTTPDate()\nlet s = \"Date()\"\n").isEmpty)
  }

  @Test("A top-level entry outside the list is a breach", arguments: ["scripts", "Makefile", "docs", "LICENSE.txt"])
  func topLevel(entry: String) {
    #expect(!Rules.isAllowed(topLevel: entry))
  }

  @Test("A path of somebody's machine is found")
  func machinePath() {
    let path = ["", "home", "jo", "sluice"].joined(separator: "/")
    #expect(Rules.machinePaths(in: "see \(path)").count == 1)
    #expect(Rules.machinePaths(in: "GET /v1/home /var/lib/sluice /rooted").isEmpty)
  }

  @Test("A marked part of a text is found, replaced, and missed where it is not")
  func marks() {
    let text = "a\n<!-- t -->\nold\n<!-- end -->\nb <!-- end -->\n"
    #expect(Rules.marked("u", in: text) == nil)
    #expect(Rules.marked("t", in: text) == "old\n")
    #expect(Rules.replacing("t", with: "new\n", in: text) == "a\n<!-- t -->\nnew\n<!-- end -->\nb <!-- end -->\n")
  }
}
