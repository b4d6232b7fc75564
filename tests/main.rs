//! The one test binary. Modules:

/// LoRA and its relatives against diffusers and their formulas.
mod adapters;
/// The same for WAN, and at full size.
mod adapters_wan;
/// `admin_utilities`, and `doctor`'s same numbers.
mod admin;
/// Counts allocations.
mod alloc_count;
/// `generate` and the network.
mod generate_delivery;
/// Temporary folder and command builder.
mod harness;
/// HTTPS on this machine.
mod https_server;
/// Waiting with an end.
mod patience;

/// Spec mistakes, missing files, places that cannot be written: message and exit code.
mod bad_input;
/// `bench`: what it measures, saves and compares.
mod bench;
/// Checkpoints in other clothes.
mod brought;
/// Callbacks on their way.
mod callbacks;
/// Conversations.
mod chat;
/// No circle of files or of rooms.
mod circles;
/// `chat`, `config`, `models add`, `man`, completion, and what the command line shows.
mod command_line;
/// The scripts in `completions/` are what the command prints.
mod completions;
/// The commands of docs/cookbook.md.
mod cookbook;
/// `enhance` from the outside.
mod enhance_command;
/// Prompt enhancement: model, cache, rules, original.
mod enhance_service;
/// Jobs that enhance their prompt, and `chat_enhance`.
mod enhanced;
/// References over the network.
mod fetching;
/// Full-size layouts account for every tensor.
mod full_size;
/// The same for WAN, `.pth` files included.
mod full_size_wan;
/// `generate`: pictures, callbacks, machine mode, replay.
mod generate;
/// The CUDA build on a stand-in driver.
mod gpu_dry;
/// Imports run downward.
mod layers;
/// `models` and `doctor`.
mod looking;
/// Adapters and weighted prompts through the command.
mod loras;
/// Video files and their papers, looked at with ffprobe and ffmpeg.
mod media_video;
/// The built-in model draws what is asked.
mod micro;
/// The built-in video model moves what is asked.
mod micro_wan;
/// Where files go and what is never overwritten.
mod outputs;
/// Our arithmetic against stored reference values.
mod parity;
/// Networks against diffusers and transformers.
mod parity_models;
/// Whole pipelines against diffusers' pictures.
mod parity_pipeline;
/// The language model against transformers, and its cache.
mod parity_qwen;
/// Samplers against diffusers and k-diffusion.
mod parity_schedulers;
/// SDXL beyond text to image, module by module.
mod parity_sdxl;
/// SDXL beyond text to image, picture by picture.
mod parity_sdxl_pictures;
/// WAN's networks and whole pipelines against diffusers and Wan's own code.
mod parity_wan;
/// PyTorch files, good and bad.
mod pickles;
/// Weights in prompts.
mod prompt_weights;
/// The commands of `queue`.
mod queue_commands;
/// A folder is drained.
mod queue_drain;
/// What goes wrong around jobs.
#[cfg(target_os = "linux")]
mod queue_faults;
/// A queue folder, drains of it, a receiver of callbacks.
mod queue_harness;
/// Kills at every point and at random.
#[cfg(target_os = "linux")]
mod queue_kills;
/// Drains of a real Redis.
#[cfg(target_os = "linux")]
mod queue_redis;
/// Kills of drains that share a Redis.
#[cfg(target_os = "linux")]
mod queue_redis_kills;
/// Drains with assets in S3.
mod queue_s3;
/// The language model end to end.
mod qwen;
/// A Redis of a test's own.
#[cfg(target_os = "linux")]
mod redis_server;
/// Replays tell what differs.
mod replays;
/// SDXL beyond text to image through the command.
mod sdxl_jobs;
/// Requests to SDXL: relations and refusals.
mod sdxl_requests;
/// Ctrl-C, SIGTERM, closed and full stdout, file-size limits.
#[cfg(unix)]
mod signals;
/// Specs that people and producers send.
mod specs;
/// What WAN jobs mean.
mod specs_video;
/// Starting takes no time.
mod start;
/// Folder and S3 as places for assets, and what happens when they fail.
mod storage;
/// Files that strangers made.
mod strangers;
/// deny.toml and what CI asks of it.
mod supply_chain;
/// `generate` for videos: files, callbacks, refusals.
mod video;
/// Videos through the command against diffusers.
mod video_parity;
