# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ourvidz_global_optspecs
    string join \n quiet v/verbose h/help V/version
end

function __fish_ourvidz_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ourvidz_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ourvidz_using_subcommand
    set -l cmd (__fish_ourvidz_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ourvidz -n "__fish_ourvidz_needs_command" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -s V -l version -d 'Print version'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "generate" -d 'Make pictures from a prompt, from job specs or from an earlier picture'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "enhance" -d 'Turn short prompts into richer ones'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "chat" -d 'Talk with a language model'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "queue-drain" -d 'Run the jobs of a queue: a folder or Redis'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "queue" -d 'Fill, look at and tidy a queue'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "worker" -d 'Started by `queue-drain`; speaks JSON lines on stdin and stdout'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "models" -d 'Look at models and at what made a picture'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "doctor" -d 'Show devices, memory, configuration and what this build can do'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "bench" -d 'Measure stages and whole jobs, also of full-size models that nobody has downloaded'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "config" -d 'Show the settings and where each value came from'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "schema" -d 'Print the JSON Schema of job specs, for editors and producers'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "man" -d 'Print a manual page'
complete -c ourvidz -n "__fish_ourvidz_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -s p -l prompt -d 'What to draw; - reads it from stdin' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -s n -l negative-prompt -d 'What not to draw; an empty one counts as given' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -s s -l seed -d 'First seed; image i uses SEED+i; -1 draws one [default: drawn and reported]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l steps -d 'Denoising steps, 1 to 150' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l cfg-scale -d 'How closely to follow the prompt, 0 to 30' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -s W -l width -d 'Width in pixels, a multiple of 8 (of 16 for WAN)' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -s H -l height -d 'Height in pixels, a multiple of 8 (of 16 for WAN)' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -s b -l batch-count -d 'Images to make, 1 to 64' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l scheduler -d 'Sampling method [default: the model\'s own]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l schedule -d 'How noise levels are spread, such as karras, sgm_uniform or beta' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l preset -d 'Sampler, steps and guidance of a distilled model: turbo, lightning-4, lightning-8, lcm, hyper' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l prediction-type -d 'What the model predicts, where its files do not say' -r -f -a "epsilon\t''
v_prediction\t''
sample\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l eta -d 'Share of fresh noise in each step of ddim, tcd and the ancestral samplers, 0 to 1' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l guidance-rescale -d 'How far guidance is brought back to the deviation of the prediction, 0 to 1' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l cfg-interval -d 'The part of the schedule that has guidance, such as 0.2:0.8' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l clip-skip -d 'Layers of the text encoders to skip besides the last' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l prompt-2 -d 'The prompt of the second text encoder [default: the same]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l negative-prompt-2 -d 'The negative prompt of the second text encoder [default: the same]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l vae -d 'An autoencoder in place of the model\'s own: a folder or a .safetensors file' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l control-preprocess -d 'What is made of every control picture' -r -f -a "none\t''
canny\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l frames -d 'Frames of a video, 4n+1 [default: 81, or what the model is made for]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l fps -d 'Frames a second, 1 to 120 [default: 16]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l flow-shift -d 'Shift of the noise levels, above 0 [default: the model\'s own, 5 without one]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l first-frame -d 'Picture that the video begins with (needs a VACE model)' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l last-frame -d 'Picture that the video ends with (needs a VACE model)' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -s i -l init-img -d 'Picture to start from, or to follow (a video needs a VACE model)' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l strength -d 'How far to go from the picture, 0 to 1, as diffusers counts [default: 0.5; with a mask 0.9999]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l mask -d 'What of the picture to paint anew: white' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l prompt-syntax -d 'How weights are written in prompts: a1111, comfy, compel or plain [default: a1111]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l reference-type -d 'What of the picture to follow: style, composition or character' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l reference-strength -d 'How strongly to follow the reference pictures, 0 to 1 [default: 0.5; videos 1]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l format -d 'png, mp4, webm, gif or png-frames [default: by job type]' -r -f -a "png\t''
mp4\t''
webm\t''
gif\t''
png-frames\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l lora -d 'A LoRA and its scale, repeatable: a file, or a name in lora_dir [scale: 1]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l control -d 'ControlNet: a diffusers folder or a .safetensors file; may be given several times' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l control-image -d 'The picture of a --control, in the same order' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l control-scale -d 'How strongly a --control works, in the same order [default: 1]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l control-start -d 'The share of the schedule at which a --control begins [default: 0]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l control-end -d 'The share of the schedule at which a --control ends [default: 1]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l ip-adapter -d 'IP-Adapter, plain or plus; may be given several times' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l image-encoder -d 'Folder of the CLIP vision model that the --ip-adapter reads with' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l ip-adapter-image -d 'Picture for the --ip-adapter; several for one adapter, or one for each [default: -i]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l ip-adapter-scale -d 'How strongly an --ip-adapter works, in the same order [default: 1]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l ip-adapter-blocks -d 'Where it works: everywhere, or only where colours or the arrangement come from' -r -f -a "all\t''
style\t''
layout\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l refiner -d 'A second model for the last part of the schedule: a name from models.toml, a folder or a file' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l refiner-start -d 'The share of the schedule at which the refiner takes over [default: 0.8]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l hires-scale -d 'Enlarge the picture by this factor and refine it' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l hires-strength -d 'Denoising strength of that refining [default: 0.5]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l type -d 'Job type [default: by model; sdxl_image_fast, or video_fast for WAN models]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l from -d 'Replay the job that made this picture or video' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -s o -l output -d 'Where pictures go: a file, a folder with a trailing /, or a template with {id} {seed} {index} {prompt} {date}' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l sheet -d 'Write all pictures of the run, small and with their seeds, on one sheet' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l callback -d 'Write the callback to this file (may contain {id}) [default: callback.json beside the pictures]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l callback-url -d 'Post the callback to this address' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l callback-format -d 'Shape of the callback [default: standard]' -r -f -a "standard\t''
workspace\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l time-limit -d 'Stop a job between two steps after this many seconds; 0: never [default: never]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -s m -l model -d 'A name from models.toml, a model folder or a checkpoint file' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l config-from -d 'Take the configuration of a single checkpoint file from this folder' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l dtype -d 'Number format of the weights [default: the device\'s]' -r -f -a "f32\t''
f16\t''
bf16\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l models -d 'The models.toml to use [default: ./models.toml, then the configuration folder\'s]' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l device -d 'cpu, cuda, cuda:N, wgpu or auto [default: auto]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l zero-snr -d 'For models that were trained on pure noise as well'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l no-auto-negative -d 'Give the model only the negative prompt of the job'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l truncate-prompt -d 'Cut prompts at 77 tokens, as diffusers does'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l deterministic -d 'Compute images one by one: the same bits in any batch'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l no-paste -d 'Leave the part that the mask keeps as the model made it'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l vae-tiling -d 'Encode and decode in overlapping tiles: less memory'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l control-guess-mode -d 'Let every --control guess what its picture shows, without help of the prompt'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l force -d 'Overwrite whatever is at the output path'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l skip-existing -d 'Leave out jobs whose results are there already'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l trust-paths -d 'Let a replayed file name model paths, local files and callback addresses'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l strict -d 'Fail when a replay has other weights or other pixels than the file it replays'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l preview -d 'Show every finished picture in the terminal'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l keep-going -d 'Run the valid jobs even when others are invalid'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l dry-run -d 'Show every resolved value and load nothing'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l json -d 'Print one JSON object a line on stdout'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand generate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -s p -l prompt -d 'The prompt as a flag; - reads prompts from stdin' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l file -d 'Read prompts from this file, one a line' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l for -d 'The job type that the prompt is for' -r -f -a "sdxl_image_fast\t''
sdxl_image_high\t''
image_fast\t''
image_high\t''
video_fast\t''
video_high\t''
image7b_fast_enhanced\t''
image7b_high_enhanced\t''
video7b_fast_enhanced\t''
video7b_high_enhanced\t''
wan_video_fast\t''
wan_video_high\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l style -d 'Manner of the enhanced prompt' -r -f -a "manual\t''
cinematic\t''
custom\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l system-prompt -d 'Tell the model this instead of the type\'s system message' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -s s -l seed -d 'Seed of the answer' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l max-tokens -d 'Most tokens that the model may write, 1 to 32768' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l temperature -d '0 takes the most probable token always; up to 10 [default: 0.7, 0 for the built-in model]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l top-p -d 'Draw from the tokens that reach this share, 0.001 to 1 [default: 0.9]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l top-k -d 'Draw from this many tokens, 0 for all [default: 20]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l repetition-penalty -d 'Make tokens that occurred less probable, 0.1 to 10 [default: 1.1, 1 for the built-in model]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l time-limit -d 'Most seconds for one answer, 0 to 3600 [default: 60]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -s m -l model -d 'The language model: a name from models.toml or a folder [default: the route `enhance`]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l dtype -d 'Number format of the weights [default: the device\'s]' -r -f -a "f32\t''
f16\t''
bf16\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l models -d 'The models.toml to use [default: ./models.toml, then the configuration folder\'s]' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l device -d 'cpu, cuda, cuda:N, wgpu or auto [default: auto]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l raw -d 'Print the model\'s answer as it is'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l no-cache -d 'Neither look into the cache nor fill it'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l clear-cache -d 'Remove every kept answer first; without a prompt, do nothing else'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l legacy-names -d 'Name sources as older producers do: edge_function, worker_fallback, emergency_fallback'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l json -d 'Print one JSON object a line on stdout'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand enhance" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l once -d 'Say this, print the answer, and end; - takes all of stdin as one turn' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l system-prompt -d 'Tell the model this first, instead of the operator\'s system message' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -s s -l seed -d 'Seed of the first answer; the next has the next [default: drawn]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l max-tokens -d 'Most tokens of an answer, 1 to 32768 [default: 512]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l temperature -d '0 takes the most probable token always; up to 10 [default: 0.7, 0 for the built-in model]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l top-p -d 'Draw from the tokens that reach this share, 0.001 to 1 [default: 0.9]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l top-k -d 'Draw from this many tokens, 0 for all [default: 20]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l repetition-penalty -d 'Make tokens that occurred less probable, 0.1 to 10 [default: 1.1, 1 for the built-in model]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -s m -l model -d 'The language model: a name from models.toml or a folder [default: the route `chat_conversation`]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l dtype -d 'Number format of the weights [default: the device\'s]' -r -f -a "f32\t''
f16\t''
bf16\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l models -d 'The models.toml to use [default: ./models.toml, then the configuration folder\'s]' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l device -d 'cpu, cuda, cuda:N, wgpu or auto [default: auto]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l json -d 'Print one JSON object a line on stdout'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand chat" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l queues -d 'Queues to drain, the most important first [default: sdxl_queue,chat_queue,wan_queue]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l max-jobs -d 'Stop after this many jobs' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l max-seconds -d 'Begin no job after this time; exit 75 if work remains' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l job-timeout -d 'End a job that takes longer [default: 15m]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l max-attempts -d 'Tries of a job that crashes its worker [default: 3]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l keep-done -d 'Keep records of finished jobs this long [default: 7d]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l lease -d 'Time after which the jobs of a silent drain are taken over [default: 60s]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l heartbeat -d 'Time between two signs of life [default: a quarter of --lease]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l list-end -d 'Which end of a plain list holds the oldest item [default: right]' -r -f -a "left\t''
right\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l storage -d 'Where assets go: a folder or s3://BUCKET/PREFIX [default: assets/ in the queue folder]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l callback-url -d 'Where outcomes are POSTed' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l callback-format -d 'Shape of callbacks [default: standard]' -r -f -a "standard\t''
workspace\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l metrics -d 'Write numbers for Prometheus to this file' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l models -d 'The models.toml to use [default: ./models.toml, then the configuration folder\'s]' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l device -d 'cpu, cuda, cuda:N, wgpu or auto; several with commas, one worker each [default: auto]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l watch -d 'Wait for more when the queue is empty'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l retry-timeouts -d 'Try a job again that ran over its time'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l allow-local-references -d 'Let jobs name files of this machine as references'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l dry-run -d 'List what would be claimed, in order, and touch nothing'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l force -d 'Use a Redis that may evict keys'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l json -d 'Print one JSON object a line on stdout'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue-drain" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and not __fish_seen_subcommand_from add status retry cancel purge deliver help" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and not __fish_seen_subcommand_from add status retry cancel purge deliver help" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and not __fish_seen_subcommand_from add status retry cancel purge deliver help" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and not __fish_seen_subcommand_from add status retry cancel purge deliver help" -f -a "add" -d 'Check specs as `generate` does and enqueue them; prints one id a line'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and not __fish_seen_subcommand_from add status retry cancel purge deliver help" -f -a "status" -d 'Show what waits, runs, failed and was not delivered, and how long it will take'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and not __fish_seen_subcommand_from add status retry cancel purge deliver help" -f -a "retry" -d 'Bring dead jobs back'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and not __fish_seen_subcommand_from add status retry cancel purge deliver help" -f -a "cancel" -d 'Stop jobs, waiting or running'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and not __fish_seen_subcommand_from add status retry cancel purge deliver help" -f -a "purge" -d 'Forget records of finished jobs'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and not __fish_seen_subcommand_from add status retry cancel purge deliver help" -f -a "deliver" -d 'Send the callbacks that are due, and render nothing'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and not __fish_seen_subcommand_from add status retry cancel purge deliver help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from add" -l queue -d 'A folder (made if needed), or redis://… or rediss://…' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from add" -l models -d 'The models.toml to use [default: ./models.toml, then the configuration folder\'s]' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from add" -l device -d 'cpu, cuda, cuda:N, wgpu or auto [default: auto]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from add" -l force -d 'Use a Redis that may evict keys'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from add" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from status" -l json -d 'Print JSON'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from status" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from retry" -l all-dead -d 'Every dead job'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from retry" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from retry" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from retry" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from cancel" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from cancel" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from cancel" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from purge" -l older-than -d 'Only those older than this' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from purge" -l done -d 'Records of finished jobs'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from purge" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from purge" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from purge" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from deliver" -l now -d 'Send everything now, whatever its time'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from deliver" -l json -d 'Print one JSON object a line on stdout'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from deliver" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from deliver" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from deliver" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "add" -d 'Check specs as `generate` does and enqueue them; prints one id a line'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "status" -d 'Show what waits, runs, failed and was not delivered, and how long it will take'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "retry" -d 'Bring dead jobs back'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "cancel" -d 'Stop jobs, waiting or running'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "purge" -d 'Forget records of finished jobs'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "deliver" -d 'Send the callbacks that are due, and render nothing'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand worker" -l models -d 'The models.toml to use [default: ./models.toml, then the configuration folder\'s]' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand worker" -l device -d 'cpu, cuda, cuda:N, wgpu or auto [default: auto]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand worker" -l name -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand worker" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand worker" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand worker" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and not __fish_seen_subcommand_from list add verify inspect help" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and not __fish_seen_subcommand_from list add verify inspect help" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and not __fish_seen_subcommand_from list add verify inspect help" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and not __fish_seen_subcommand_from list add verify inspect help" -f -a "list" -d 'List models, where they are, and which job type uses which'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and not __fish_seen_subcommand_from list add verify inspect help" -f -a "add" -d 'Write an entry into models.toml for a model folder or a checkpoint file'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and not __fish_seen_subcommand_from list add verify inspect help" -f -a "verify" -d 'Check a model\'s files: what would load, what is missing, unused or mis-shaped'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and not __fish_seen_subcommand_from list add verify inspect help" -f -a "inspect" -d 'Print the manifest inside a picture as JSON'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and not __fish_seen_subcommand_from list add verify inspect help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from list" -l models -d 'The models.toml to use [default: ./models.toml, then the configuration folder\'s]' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from list" -l device -d 'cpu, cuda, cuda:N, wgpu or auto [default: auto]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from list" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from add" -l config-from -d 'Take the configuration of a single checkpoint file from this folder' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from add" -l route -d 'Use it for this job type, or for `enhance`; may be repeated' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from add" -l models -d 'The models.toml to write [default: ./models.toml, then the configuration folder\'s]' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from add" -l force -d 'Replace an entry of this name'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from add" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from verify" -l config-from -d 'Take the configuration of a single checkpoint file from this folder' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from verify" -l models -d 'The models.toml to use [default: ./models.toml, then the configuration folder\'s]' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from verify" -l device -d 'cpu, cuda, cuda:N, wgpu or auto [default: auto]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from verify" -l json -d 'Print JSON'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from verify" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from inspect" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from inspect" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from help" -f -a "list" -d 'List models, where they are, and which job type uses which'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from help" -f -a "add" -d 'Write an entry into models.toml for a model folder or a checkpoint file'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Check a model\'s files: what would load, what is missing, unused or mis-shaped'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from help" -f -a "inspect" -d 'Print the manifest inside a picture as JSON'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand models; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand doctor" -l models -d 'The models.toml to use [default: ./models.toml, then the configuration folder\'s]' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand doctor" -l device -d 'cpu, cuda, cuda:N, wgpu or auto [default: auto]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand doctor" -l json -d 'Print JSON'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand doctor" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand doctor" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l synthetic -d 'Full-size models with random weights: sdxl, sdxl-turbo, wan-1.3b, wan-vace-1.3b, qwen-0.5b, qwen-7b' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l size -d 'Sizes in pixels [default: the model\'s own]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l frames -d 'Frames of a video, 4n+1 [default: 81, or what the model is made for]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l steps -d 'Denoising steps [default: 4; 1 for sdxl-turbo, 2 for WAN]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l batch -d 'Pictures computed together [default: 1]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l dtype -d 'Number formats of the weights [default: the device\'s]' -r -f -a "f32\t''
f16\t''
bf16\t''"
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l warmup -d 'Runs before measuring' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l iterations -d 'Runs measured' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l save -d 'Write the report to this file too' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l compare -d 'Compare with an earlier report' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l threshold -d 'How much slower than --compare is a failure' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l models -d 'The models.toml to use [default: ./models.toml, then the configuration folder\'s]' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l device -d 'cpu, cuda, cuda:N, wgpu or auto [default: auto]' -r
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l markdown -d 'Print a Markdown table'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l json -d 'Print one JSON object a line on stdout'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand bench" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and not __fish_seen_subcommand_from show path init help" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and not __fish_seen_subcommand_from show path init help" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and not __fish_seen_subcommand_from show path init help" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and not __fish_seen_subcommand_from show path init help" -f -a "show" -d 'Every setting, its value, and whether a file, a variable or the default gives it'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and not __fish_seen_subcommand_from show path init help" -f -a "path" -d 'Print where config.toml is looked for'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and not __fish_seen_subcommand_from show path init help" -f -a "init" -d 'Write a config.toml in which every setting stands, commented out, with its default'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and not __fish_seen_subcommand_from show path init help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from show" -l json -d 'Print JSON'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from show" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from path" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from path" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from path" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from init" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from init" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from init" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "show" -d 'Every setting, its value, and whether a file, a variable or the default gives it'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "path" -d 'Print where config.toml is looked for'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "init" -d 'Write a config.toml in which every setting stands, commented out, with its default'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand schema" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand schema" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand schema" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand completions" -l dynamic -d 'A script that asks ourvidz for the candidates'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand completions" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand completions" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand completions" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand man" -l all -d 'Write the pages of all commands into this folder' -r -F
complete -c ourvidz -n "__fish_ourvidz_using_subcommand man" -l quiet -d 'Say nothing but errors'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand man" -s v -l verbose -d 'Say more, such as which files were read; twice in queue-drain: everything, prompts included'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand man" -s h -l help -d 'Print help'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "generate" -d 'Make pictures from a prompt, from job specs or from an earlier picture'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "enhance" -d 'Turn short prompts into richer ones'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "chat" -d 'Talk with a language model'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "queue-drain" -d 'Run the jobs of a queue: a folder or Redis'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "queue" -d 'Fill, look at and tidy a queue'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "worker" -d 'Started by `queue-drain`; speaks JSON lines on stdin and stdout'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "models" -d 'Look at models and at what made a picture'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "doctor" -d 'Show devices, memory, configuration and what this build can do'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "bench" -d 'Measure stages and whole jobs, also of full-size models that nobody has downloaded'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "config" -d 'Show the settings and where each value came from'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "schema" -d 'Print the JSON Schema of job specs, for editors and producers'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "completions" -d 'Print a completion script for a shell'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "man" -d 'Print a manual page'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and not __fish_seen_subcommand_from generate enhance chat queue-drain queue worker models doctor bench config schema completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "add" -d 'Check specs as `generate` does and enqueue them; prints one id a line'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "status" -d 'Show what waits, runs, failed and was not delivered, and how long it will take'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "retry" -d 'Bring dead jobs back'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "cancel" -d 'Stop jobs, waiting or running'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "purge" -d 'Forget records of finished jobs'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "deliver" -d 'Send the callbacks that are due, and render nothing'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from models" -f -a "list" -d 'List models, where they are, and which job type uses which'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from models" -f -a "add" -d 'Write an entry into models.toml for a model folder or a checkpoint file'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from models" -f -a "verify" -d 'Check a model\'s files: what would load, what is missing, unused or mis-shaped'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from models" -f -a "inspect" -d 'Print the manifest inside a picture as JSON'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "show" -d 'Every setting, its value, and whether a file, a variable or the default gives it'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "path" -d 'Print where config.toml is looked for'
complete -c ourvidz -n "__fish_ourvidz_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "init" -d 'Write a config.toml in which every setting stands, commented out, with its default'
