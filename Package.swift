// swift-tools-version: 6.2
import PackageDescription

/// Every room is built alike: Swift 6, every warning an error, every unsafe expression marked.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableExperimentalFeature("Lifetimes"),
  // Without it the default build neither inlines nor specialises across rooms: 130 times the instructions.
  // Exclusive access is checked at run time in debug builds, where all tests run; the check of every touch of a class's
  // property is a tenth of a request's instructions.
  .unsafeFlags(["-cross-module-optimization", "-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

/// What thousands of simulated runs go through is optimised in debug builds too, with all assertions: seconds of a test run
/// instead of minutes.
let quick: [SwiftSetting] = [.unsafeFlags(["-O", "-assert-config", "Debug"], .when(configuration: .debug))]
let quickRooms = ["Cluster", "Core", "Crypto", "Pipeline"]

func room(_ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource] = []) -> Target {
  .target(
    name: name, dependencies: dependencies, resources: resources,
    swiftSettings: quickRooms.contains(name) ? strict + quick : strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
  .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: strict)
}

let package = Package(
  name: "sluice",
  products: [.executable(name: "sluice", targets: ["Commands"])],
  targets: [
    .target(name: "CLinux", path: "Sources/Shims/CLinux"),
    .systemLibrary(
      name: "COpenSSL", path: "Sources/Shims/COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    // Without pkgConfig: what hiredis says there holds a flag that SwiftPM refuses with a warning.
    .systemLibrary(name: "CHiredis", path: "Sources/Shims/CHiredis", providers: [.apt(["libhiredis-dev"])]),
    room("Core", ["CLinux"]),
    room("HTTP", ["CLinux", "Core"]),
    room("Net", ["CLinux", "Core", "Crypto", "HTTP"]),
    room("Traffic", ["Core", "Crypto", "HTTP"]),
    room("Gateway", ["CLinux", "Cluster", "Core", "Crypto", "HTTP", "Net", "Pipeline", "Policies", "Traffic"]),
    room("Admin", ["Cluster", "Core", "Crypto", "Gateway", "HTTP", "Pipeline", "Policies"]),
    room("Crypto", ["Core", "COpenSSL"]),
    room("Pipeline", ["Core", "HTTP", "Crypto"]),
    room(
      "Cluster", ["CHiredis", "Core", "Crypto", "Net", "Pipeline"],
      // Read by Redis, so that they have to lie in the binary: the decision library, and that of what nodes agree on.
      resources: [.embedInCode("Lanes/lanes.lua")]
        + [
          "Agreement/agreement", "Agreement/leader", "Agreement/members", "Revisions/revisions", "Audit/audit",
          "Facts/facts", "Records/records",
          "Agreement/register",
        ].map {
          .embedInCode("\($0).lua")
        }),
    room("Policies", ["Core", "HTTP", "Crypto", "Pipeline"]),
    .executableTarget(
      name: "Commands",
      dependencies: [
        "Admin", "Cluster", "Core", "Crypto", "Gateway", "HTTP", "Net", "Pipeline", "Policies",
      ],
      swiftSettings: strict),
    tests("CommandsTests", ["Commands", "Core", "Crypto", "Gateway", "HTTP", "Net", "Simulation"]),
    tests("CoreTests", ["Core"]),
    tests("Conformance", ["Core", "Crypto", "HTTP"]),
    tests("HTTPTests", ["Core", "HTTP", "Simulation"]),
    // Not a test target: the simulated world that the tests of several rooms run on.
    .target(name: "Simulation", dependencies: ["Core"], path: "Tests/Simulation", swiftSettings: strict + quick),
    // The real scripts run in a real interpreter, which is linked into tests and into nothing else.
    .target(
      name: "CLua", path: "Tests/CLua", cSettings: [.unsafeFlags(["-O2"], .when(configuration: .debug))],
      linkerSettings: [.linkedLibrary("lua5.1")]),
    .target(
      name: "ModelRedis", dependencies: ["CLua", "Core", "Crypto", "Simulation"], path: "Tests/ModelRedis",
      swiftSettings: strict + quick),
    .testTarget(
      name: "SimulationTests", dependencies: ["Cluster", "Core", "Crypto", "ModelRedis", "Pipeline", "Simulation"],
      swiftSettings: strict + quick),
    tests("NetTests", ["CLinux", "Core", "Crypto", "Net", "Simulation"]),
    tests("PipelineTests", ["Core", "Crypto", "HTTP", "Pipeline"]),
    tests(
      "GatewayTests",
      ["Cluster", "Core", "Crypto", "Gateway", "HTTP", "ModelRedis", "Pipeline", "Policies", "Simulation", "Traffic"]),
    tests("AdminTests", ["Admin", "Cluster", "Core", "Gateway", "Pipeline"]),
    tests("TrafficTests", ["Core", "Crypto", "HTTP", "Traffic"]),
    tests("CryptoTests", ["COpenSSL", "Core", "Crypto", "Simulation"]),
    tests("PoliciesTests", ["Cluster", "Core", "Crypto", "HTTP", "Pipeline", "Policies"]),
    tests("QuotaTests", ["CHiredis", "Cluster", "Core", "Crypto", "ModelRedis", "Pipeline", "Simulation"]),
    // Not shipped: one node of a shared quota, of which the safety tests start, stop and kill several.
    .executableTarget(
      name: "QuotaDriver", dependencies: ["Cluster", "Core", "Net", "Pipeline"], path: "Tests/QuotaDriver",
      swiftSettings: strict),
    tests("RedisTests", ["Cluster", "Core", "Crypto", "Net", "Pipeline", "QuotaDriver", "Simulation"]),
    .target(
      name: "Fuzz",
      dependencies: ["Cluster", "Core", "Crypto", "Gateway", "HTTP", "Pipeline", "Policies", "Simulation", "Traffic"],
      path: "Tests/Fuzz", exclude: ["Corpus"], swiftSettings: strict),
    tests("FuzzTests", ["Core", "Fuzz"]),
    tests("TidyTests", ["Commands", "Pipeline", "Policies"]),
  ]
)

// libFuzzer brings its own `main`, so its entry exists only where somebody fuzzes: see Tests/Fuzz/FuzzTable.swift.
if Context.environment["FUZZ"] == "1" {
  package.targets.append(
    .executableTarget(name: "sluice-fuzz", dependencies: ["Fuzz"], path: "Tests/FuzzEntry", swiftSettings: strict))
  package.products.append(.executable(name: "sluice-fuzz", targets: ["sluice-fuzz"]))
}

// Measured, never shipped: `benchmarks/run match` builds it.
if Context.environment["BENCHMARK"] == "1" {
  package.targets.append(
    .executableTarget(
      name: "route-match", dependencies: ["Core", "HTTP", "Traffic"], path: "benchmarks/scenarios/RouteMatch",
      swiftSettings: strict))
  package.products.append(.executable(name: "route-match", targets: ["route-match"]))
  package.targets.append(
    .executableTarget(
      name: "fact-cost", dependencies: ["CLinux", "Core", "Crypto", "Pipeline"], path: "benchmarks/scenarios/FactCost",
      swiftSettings: strict))
  package.products.append(.executable(name: "fact-cost", targets: ["fact-cost"]))
}
