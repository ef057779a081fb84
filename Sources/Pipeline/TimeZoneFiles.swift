import Glibc

/// The compiled tables of the IANA database as the system has them.
///
/// This is the one place outside `Net` that touches the system: a table is read while a configuration is read, never while
/// requests run.
public enum TimeZoneFiles {
  /// Where the tables are.
  public static let directory = "/usr/share/zoneinfo"

  /// Why a zone cannot be used.
  public enum Fault: Error, Equatable, Sendable {
    /// There is no zone of that name.
    case unknown
    /// The system has no tables at all.
    case noDatabase
    /// The table is not one.
    case malformed
  }

  /// The zone of that IANA name. Reads one small file; `UTC` needs none.
  public static func table(named name: String) throws(Fault) -> TimeZoneTable {
    if name == "UTC" { return .utc }
    let isPlain = name.utf8.allSatisfy {
      ($0 | 32) >= 97 && ($0 | 32) <= 122 || $0 >= 48 && $0 <= 57 || [43, 45, 47, 95].contains($0)
    }
    // Without dots no name leads out of the directory.
    guard isPlain, !name.isEmpty, !name.hasPrefix("/"), name.utf8.count <= 64 else { throw .unknown }
    guard let file = read(directory + "/" + name) else {
      throw unsafe access(directory, R_OK) == 0 ? .unknown : .noDatabase
    }
    guard let table = TimeZoneTable(name: name, file: file) else { throw .malformed }
    return table
  }

  private static func read(_ path: String) -> [UInt8]? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var content: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 16_384)
    while content.count <= 1 << 20 {
      // `block` is as long as it says.
      let count = unsafe Glibc.read(descriptor, &block, block.count)
      if count <= 0 { return count == 0 ? content : nil }
      content += block[..<count]
    }
    return nil
  }
}
