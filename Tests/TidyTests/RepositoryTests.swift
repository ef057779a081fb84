import Foundation
import Testing

/// The rules applied to the checkout. A breach names its file and line; every test collects all of them.
@Suite("Repository")
struct RepositoryTests {
  private func collect(_ files: [String], _ rule: (String, String) -> [String]) -> [String] {
    files.flatMap { file in rule(file, Repository.text(file)).map { "\(file): \($0)" } }
  }

  @Test("The checkout is found and holds Swift files")
  func found() {
    #expect(Repository.swiftFiles(below: "Sources").count > 4)
  }

  @Test("No room imports a room of its own or a higher level")
  func rooms() {
    let breaches = collect(Repository.swiftFiles(below: "Sources")) { file, text in
      let parts = file.split(separator: "/").map(String.init)
      return Rules.importBreaches(in: text, room: parts[1] == "Shims" ? parts[2] : parts[1])
    }
    #expect(breaches == [])
  }

  @Test("Files and functions keep their length")
  func lengths() {
    let files = Repository.swiftFiles(below: "Sources") + Repository.swiftFiles(below: "Tests")
    #expect(collect(files) { _, text in Rules.lengthBreaches(in: text) } == [])
  }

  @Test("Only Net reads a clock, draws a random number or sleeps")
  func world() {
    let files = Repository.swiftFiles(below: "Sources").filter { !$0.hasPrefix("Sources/Net/") }
    #expect(collect(files) { _, text in Rules.worldBreaches(in: text) } == [])
  }

  @Test("The top level holds nothing beside its list")
  func topLevel() {
    let entries = Set(Repository.files.compactMap { $0.split(separator: "/").first.map(String.init) })
    #expect(entries.filter { !Rules.isAllowed(topLevel: $0) } == [])
  }

  @Test("No committed file names a path of somebody's machine")
  func machinePaths() {
    let binary = ["Tests/Fuzz/", "Tests/Conformance/"]
    let files = Repository.files.filter { file in !binary.contains { file.hasPrefix($0) } }
    #expect(collect(files) { _, text in Rules.machinePaths(in: text) } == [])
  }

  @Test("No Swift package is used")
  func packages() {
    #expect(!Repository.text("Package.swift").contains(".package("))
  }

  @Test("Every script with a first line for an interpreter is executable")
  func executable() {
    let scripts = Repository.files.filter { Repository.text($0).hasPrefix("#!") }
    #expect(!scripts.isEmpty)
    #expect(
      scripts.filter { !FileManager.default.isExecutableFile(atPath: Repository.root.appending(path: $0).path) } == [])
  }

  @Test("Every room on disk is a target, and every target a room on disk")
  func targets() throws {
    let manifest = Repository.text("Package.swift")
    let rooms = Set(
      Repository.files.filter { $0.hasPrefix("Sources/") }.map { file in
        let parts = file.split(separator: "/").map(String.init)
        return parts[1] == "Shims" ? parts[2] : parts[1]
      })
    #expect(rooms.filter { !manifest.contains("\"\($0)\"") } == [])
    #expect(rooms.filter { Rules.levels[$0] == nil } == [])
  }
}
