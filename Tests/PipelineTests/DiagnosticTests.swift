import Pipeline
import Testing

@Suite("Diagnostics")
struct DiagnosticTests {
  @Test(
    "a place is a line and a column of characters",
    arguments: [(0, 1, 1), (2, 1, 3), (3, 2, 1), (5, 2, 2), (7, 2, 4), (8, 2, 5), (100, 2, 5)])
  func places(offset: Int, line: Int, column: Int) {
    let place = LineIndex(Array("ab\néxyz".utf8)).place(of: offset)
    #expect(place.line == line)
    #expect(place.column == column)
  }

  @Test("stays on one line whatever it quotes")
  func oneLine() {
    let diagnostic = Diagnostic(.warning, line: 3, column: 4, path: "a", message: "x\ny", fix: "z\r\n")
    #expect(diagnostic.text(file: "f") == "f:3:4: warning: a: x y; z ")
    #expect(Diagnostic(.error, line: 0, column: 0, message: "m", fix: "f").text(file: "f") == "f: m; f")
  }

  @Test(
    "guesses what was meant, and does not guess wildly",
    arguments: [
      ("burts", "burst"), ("BURST", "burst"), ("limit", "limits"), ("drain", "drainSeconds"), ("xyz", nil), ("", nil),
    ])
  func suggestions(word: String, meant: String?) {
    #expect(Suggestion.nearest(to: word, among: ["burst", "limits", "drainSeconds"]) == meant)
  }
}
