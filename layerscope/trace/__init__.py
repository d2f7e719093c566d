"""The only reader of Kineto's JSON: a trace file in, columns, span trees and launch links out."""
