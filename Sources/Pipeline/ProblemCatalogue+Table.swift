extension ProblemCatalogue {
  /// Every entry, by status and code.
  public static var all: [Problem] { Entry.allCases.map(\.problem) }

  /// The catalogue as a table in Markdown, for the README.
  public static var markdown: String {
    var text = "| status | code | meaning |\n|---|---|---|\n"
    for problem in all { text += "| \(problem.status) | `\(problem.code)` | \(problem.detail) |\n" }
    return text
  }
}
