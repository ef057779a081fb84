import Foundation

/// The checkout that these tests are about.
enum Repository {
  /// The folder that holds `Package.swift`.
  static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// Every file that git would commit: tracked, or new and not ignored; paths relative to the root.
  static let files: [String] = git("ls-files", "--cached", "--others", "--exclude-standard", "-z")
    .split(separator: "\0").map(String.init)
    .filter { FileManager.default.fileExists(atPath: root.appending(path: $0).path) }

  /// The Swift files below a folder.
  static func swiftFiles(below folder: String) -> [String] {
    files.filter { $0.hasPrefix(folder + "/") && $0.hasSuffix(".swift") }.sorted()
  }

  /// A file as text; bytes that are no UTF-8 are replaced.
  static func text(_ path: String) -> String {
    guard let data = try? Data(contentsOf: root.appending(path: path)) else { return "" }
    return String(decoding: data, as: UTF8.self)
  }

  static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: root.appending(path: path).path) }

  private static func git(_ arguments: String...) -> String {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["git", "-C", root.path] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    do { try process.run() } catch { return "" }
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: data, as: UTF8.self)
  }
}
