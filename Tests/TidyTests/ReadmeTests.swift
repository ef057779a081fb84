import Foundation
import Pipeline
import Policies
import Testing

@testable import Commands

/// The tables of the README are what the code says. To write them anew after a change:
/// `SLUICE_WRITE_TABLES=1 swift test --filter ReadmeTests`
@Suite("Readme")
struct ReadmeTests {
  /// A generated part of the README, between `<!-- name -->` and `<!-- end -->`.
  struct Table: Sendable, CustomTestStringConvertible {
    let name: String
    let text: @Sendable () -> String
    var testDescription: String { name }

    static let all = [
      Table(name: "policies", text: policies), Table(name: "problems", text: { ProblemCatalogue.markdown }),
      Table(name: "verbs", text: verbs),
    ]

    private static func policies() -> String {
      var text = "| policy | phase | what it does | options |\n|---|---|---|---|\n"
      for phase in Phase.allCases {
        for policy in Registry.policies where policy.phase == phase {
          var reader = OptionReader(describing: policy.name)
          _ = policy.init(&reader)
          let options = reader.descriptions.map { $0.isRequired ? "**`\($0.name)`**" : "`\($0.name)`" }
          text += "| `\(policy.name)` | \(phase) | \(policy.summary) | \(options.joined(separator: ", ")) |\n"
        }
      }
      return text
    }

    private static func verbs() -> String {
      var text = "| verb | what it does |\n|---|---|\n"
      for verb in Verb.all { text += "| `sluice \(verb.name)` | \(verb.summary) |\n" }
      return text
    }
  }

  @Test("A generated table is what the code says", .serialized, arguments: Table.all)
  func table(_ table: Table) throws {
    let readme = Repository.text("README.md")
    let expected = table.text()
    #expect(expected.split(separator: "\n").count > 2)
    if ProcessInfo.processInfo.environment["SLUICE_WRITE_TABLES"] == "1" {
      let written = try #require(Rules.replacing(table.name, with: expected, in: readme))
      try written.write(to: Repository.root.appending(path: "README.md"), atomically: true, encoding: .utf8)
    } else {
      #expect(Rules.marked(table.name, in: readme) == expected)
    }
  }

  @Test("Every policy has its file, its tests and its place in the README")
  func policies() {
    let files = Repository.swiftFiles(below: "Sources/Policies")
    for policy in Registry.policies {
      let type = "\(policy)"
      #expect(files.contains("Sources/Policies/\(type).swift"), "no file of its own for \(policy.name)")
      #expect(Repository.exists("Tests/PoliciesTests/\(type)Tests.swift"), "no tests for \(policy.name)")
    }
    for file in files where Repository.text(file).contains("static let phase = Phase.") {
      let name = file.split(separator: "/")[2].dropLast(".swift".count)
      #expect(Registry.policies.contains { "\($0)" == name }, "\(name) is not in the registry")
    }
  }

  @Test("Policy names and problem codes are unique, lower-case words")
  func names() {
    for names in [Registry.policies.map { $0.name }, ProblemCatalogue.all.map { "\($0.code)" }] {
      #expect(Set(names).count == names.count)
      #expect(names.filter { $0.wholeMatch(of: /[a-z0-9]+(-[a-z0-9]+)*/) == nil } == [])
    }
  }
}
