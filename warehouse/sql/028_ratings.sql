create table ratings (
    run_id varchar not null,
    study_id varchar not null,
    rater_id varchar not null,
    clip_id varchar not null,
    system varchar not null,
    question varchar not null,
    presentation integer not null check (presentation >= 0),
    score double not null,
    scale_min double,
    scale_max double,
    dataset_id varchar,
    is_check boolean,
    passed_checks boolean,
    position integer,
    response_s double check (response_s >= 0),
    answered_at timestamp,
    remark varchar,
    primary key (study_id, rater_id, clip_id, system, question, presentation),
    check (score >= scale_min and score <= scale_max)
);

comment on table ratings is
    'Answers of people in user studies. Grain: study, rater, clip, system, question, presentation. No flow writes it: the answers of a study come in by warehouse.inbox.write_rows.';

comment on column ratings.run_id is 'The run that wrote the row; a study that is read in again replaces its rows.';
comment on column ratings.study_id is 'The study: one set of clips, systems and questions.';
comment on column ratings.rater_id is 'Pseudonym of the person who answered.';
comment on column ratings.clip_id is 'The clip that was shown; joins clips.';
comment on column ratings.system is 'The system whose output was shown; joins systems.';
comment on column ratings.question is 'What was asked: sync, quality, identity, naturalness, ...';
comment on column ratings.presentation is 'How often this person had seen this clip of this system before; 0 the first time.';
comment on column ratings.score is 'The answer on the scale of the question; higher is better.';
comment on column ratings.scale_min is 'Lowest answer that was offered, such as 1.';
comment on column ratings.scale_max is 'Highest answer that was offered, such as 5.';
comment on column ratings.dataset_id is 'Data set and version of the clip; joins datasets.';
comment on column ratings.is_check is 'The clip is there to see whether the person pays attention; such rows are in no mean. Null counts as no.';
comment on column ratings.passed_checks is 'The person answered the attention checks of the study rightly; rows of those who did not are in no mean. Null: there were none.';
comment on column ratings.position is 'Place of the clip in the order that this person saw, from 0.';
comment on column ratings.response_s is 'Seconds from the end of the clip to the answer. [volatile]';
comment on column ratings.answered_at is 'When, UTC. [volatile]';
comment on column ratings.remark is 'What the person wrote beside the answer.';
